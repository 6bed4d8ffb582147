"""Launch templates, of one version each."""

from typing import Any

from tests.fakes.ec2.errors import AwsError, bad_combination
from tests.fakes.ec2.filters import Fields, selected
from tests.fakes.ec2.reading import Asked
from tests.fakes.ec2.settings import ACCOUNT
from tests.fakes.ec2.tables import Template
from tests.fakes.ec2.tags import tags_for, written
from tests.fakes.ec2.tokens import once
from tests.fakes.ec2.world import World
from tests.fakes.ec2.writing import Reply


def create_launch_template(world: World, asked: Asked) -> Reply:
    name, tags = asked["LaunchTemplateName"], tags_for(asked, "launch-template")["launch-template"]

    def make() -> str:
        if any(one.name == name for one in world.templates.values()):
            raise AwsError("InvalidLaunchTemplateName.AlreadyExistsException", "Launch template name already in use.")
        template = Template(world.new_id("lt"), name, asked["LaunchTemplateData"], world.now(), tags)
        world.templates[template.id] = template
        return template.id

    return {"LaunchTemplate": _shown(world.templates[once(world, "CreateLaunchTemplate", asked, make)])}


def describe_launch_templates(world: World, asked: Asked) -> Reply:
    found = list(world.templates.values())
    if ids := asked.get("LaunchTemplateIds"):
        found = [find_template(world, {"LaunchTemplateId": one}) for one in ids]
    if names := asked.get("LaunchTemplateNames"):
        found = [find_template(world, {"LaunchTemplateName": one}) for one in names]
    fields: Fields[Template] = {"launch-template-name": lambda one: one.name}
    return {"LaunchTemplates": [_shown(one) for one in selected(found, asked, fields, lambda one: one.tags)]}


def delete_launch_template(world: World, asked: Asked) -> Reply:
    template = find_template(world, asked)
    del world.templates[template.id]
    return {"LaunchTemplate": _shown(template)}


def find_template(world: World, named: Asked) -> Template:
    """Return the template that a specification names by id or by name."""
    id_, name = named.get("LaunchTemplateId"), named.get("LaunchTemplateName")
    if (id_ is None) is (name is None):
        raise bad_combination("Either a launch template's id or its name must be given")
    if named.get("Version", "$Default") not in ("$Default", "$Latest", "1"):
        raise AwsError("InvalidLaunchTemplateId.VersionNotFound", f"Could not find version {named['Version']}")
    for one in world.templates.values():
        if one.id == id_ or one.name == name:
            return one
    if id_ is not None:
        raise AwsError("InvalidLaunchTemplateId.NotFound", f"The launch template ID '{id_}' does not exist")
    raise AwsError("InvalidLaunchTemplateName.NotFoundException", f"The launch template '{name}' does not exist")


def _shown(one: Template) -> dict[str, Any]:
    return {
        "LaunchTemplateId": one.id,
        "LaunchTemplateName": one.name,
        "CreateTime": one.created_at,
        "CreatedBy": f"arn:aws:iam::{ACCOUNT}:user/operator",
        "DefaultVersionNumber": 1,
        "LatestVersionNumber": 1,
        "Tags": written(one.tags),
    }
