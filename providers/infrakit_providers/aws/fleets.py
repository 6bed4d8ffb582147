"""Spot machines of whichever type EC2 can spare most easily: CreateFleet of type `instant`, one machine a call.

A fleet's machines are not numbered as those of RunInstances are, so more than one a call could not be told apart.
That costs nothing: in the long run twice as many such calls are allowed as machines.

What cannot be said in the call is in a launch template. A template is named after its content, so it is made once,
never changed, and found again by its name.
"""

import base64
import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from threading import Lock
from typing import Any, Final

from infrakit_providers.aws.calls import Caller, Kind
from infrakit_providers.aws.faults import NO_CAPACITY, QUOTA, code_of
from infrakit_providers.aws.machine import Machine
from infrakit_providers.aws.tickets import Ticket
from infrakit_py.errors import NoCapacity, ProviderError, QuotaExceeded
from infrakit_py.model import tags
from infrakit_py.model.instance import InstanceId
from infrakit_py.spi.provider import Leftover, Outcome, ProvisionRequest

ANY_TYPE: Final = "*"
"""In place of a type: EC2 takes the one of the machine's types that it can spare most easily."""
TEMPLATE: Final = "launch template"
_EXISTS: Final = "InvalidLaunchTemplateName.AlreadyExistsException"
_MISSING: Final = frozenset({"InvalidLaunchTemplateName.NotFoundException", "InvalidLaunchTemplateId.NotFound"})
_OF_THE_CALL: Final = ("MinCount", "MaxCount", "ClientToken", "InstanceType", "SubnetId", "InstanceMarketOptions")
_TAGGED_BY_TEMPLATE: Final = ("volume", "network-interface")


def mixes(machine: Machine) -> bool:
    """Tell whether a machine's spot share may be of several types at once, which only CreateFleet can choose from."""
    one_time = machine.capacity.interruption == "terminate"
    return machine.capacity.spot_percent > 0 and len(machine.instance_types) > 1 and one_time


class Fleets:
    """Makes fleets, and the templates that they need. Safe for threads."""

    def __init__(self, caller: Caller, note: Callable[[Sequence[Mapping[str, Any]]], None]) -> None:
        """`note` is told of each instance that EC2 answers with."""
        self._caller = caller
        self._note = note
        self._lock = Lock()
        self._made: set[str] = set()

    def launch(
        self, request: ProvisionRequest, machine: Machine, ticket: Ticket, parameters: Mapping[str, Any]
    ) -> Outcome:
        """Make one spot machine. `parameters` are those of RunInstances for it. NoCapacity leaves as an error."""
        template = self._template(request, parameters)
        capacity = machine.capacity
        own = next(s["Tags"] for s in parameters["TagSpecifications"] if s["ResourceType"] == "instance")
        owner = [tag for tag in own if tag["Key"] in (tags.CLUSTER, tags.GROUP)]
        overrides = [{"InstanceType": type_, **_where(ticket)} for type_ in machine.instance_types]
        if capacity.max_price is not None:
            overrides = [{**one, "MaxPrice": capacity.max_price} for one in overrides]
        answer = self._caller.once(
            Kind.MUTATE,
            "ec2",
            "create_fleet",
            f"launch {request.name} (spot in {ticket.zone})",
            Type="instant",
            ClientToken=ticket.client_token(request),
            LaunchTemplateConfigs=[
                {
                    "LaunchTemplateSpecification": {"LaunchTemplateName": template, "Version": "$Default"},
                    "Overrides": overrides,
                }
            ],
            TargetCapacitySpecification={"TotalTargetCapacity": 1, "DefaultTargetCapacityType": "spot"},
            SpotOptions={"AllocationStrategy": capacity.allocation, "InstanceInterruptionBehavior": "terminate"},
            TagSpecifications=[
                {"ResourceType": "fleet", "Tags": owner},
                {"ResourceType": "instance", "Tags": own},
            ],
        )
        ids = [id_ for group in answer.get("Instances", ()) for id_ in group["InstanceIds"]]
        if not ids:
            self._made.discard(template)
            raise _refusal(request, answer.get("Errors", ()))
        self._note([_as_launched(ids[0], ticket, own)])
        return Outcome(InstanceId(ids[0]))

    def leftovers(self, cluster: str) -> list[Leftover]:
        """Return the templates of a cluster: nothing needs them once its machines are made."""
        filters = [{"Name": f"tag:{tags.CLUSTER}", "Values": [cluster]}]
        return [
            Leftover(one["LaunchTemplateId"], TEMPLATE, one["LaunchTemplateName"], _group(one))
            for page in self._caller.pages(
                "ec2", "describe_launch_templates", f"look for launch templates of {cluster}", Filters=filters
            )
            for one in page["LaunchTemplates"]
        ]

    def delete(self, cluster: str, leftover: Leftover) -> Outcome:
        """Delete a template of a cluster. One that is gone is fine."""
        if leftover.id not in {one.id for one in self.leftovers(cluster)}:
            return Outcome()
        self._made.discard(leftover.name)
        try:
            self._caller.act(
                Kind.MUTATE,
                "ec2",
                "delete_launch_template",
                f"delete the launch template {leftover.name}",
                LaunchTemplateId=leftover.id,
            )
        except ProviderError as exc:
            if code_of(exc.__cause__ or exc) not in _MISSING:
                return Outcome(error=exc)
        return Outcome()

    def _template(self, request: ProvisionRequest, parameters: Mapping[str, Any]) -> str:
        """Return the name of the template for a machine's parameters, made if it is not there."""
        data = _template_data(parameters)
        cluster = request.tags[tags.CLUSTER]
        digest = hashlib.sha256(json.dumps([cluster, data], sort_keys=True).encode()).hexdigest()
        name = f"infrakit-{cluster[:60]}-{digest[:32]}"
        with self._lock:
            if name not in self._made:
                self._make_template(request, name, digest, data)
                self._made.add(name)
        return name

    def _make_template(self, request: ProvisionRequest, name: str, digest: str, data: Mapping[str, Any]) -> None:
        owner = [{"Key": key, "Value": request.tags[key]} for key in (tags.CLUSTER, tags.GROUP)]
        try:
            self._caller.act(
                Kind.MUTATE,
                "ec2",
                "create_launch_template",
                f"make the launch template of {request.name}",
                LaunchTemplateName=name,
                ClientToken=digest,
                LaunchTemplateData=data,
                TagSpecifications=[{"ResourceType": "launch-template", "Tags": owner}],
            )
        except ProviderError as exc:
            if code_of(exc.__cause__ or exc) != _EXISTS:
                raise


def _template_data(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Return what all machines of a kind have in common, from the parameters of one."""
    data = {key: value for key, value in parameters.items() if key not in _OF_THE_CALL}
    data["TagSpecifications"] = [
        one for one in parameters["TagSpecifications"] if one["ResourceType"] in _TAGGED_BY_TEMPLATE
    ]
    if "UserData" in data:
        data["UserData"] = base64.b64encode(data["UserData"]).decode()
    if "NetworkInterfaces" in data:
        data["NetworkInterfaces"] = [
            {key: value for key, value in one.items() if key != "SubnetId"} for one in data["NetworkInterfaces"]
        ]
    placement = {k: v for k, v in data.pop("Placement", {}).items() if k != "AvailabilityZone"}
    return data | ({"Placement": placement} if placement else {})


def _where(ticket: Ticket) -> dict[str, str]:
    return {"SubnetId": ticket.subnet_id} if ticket.subnet_id else {"AvailabilityZone": ticket.zone}


def _as_launched(instance_id: str, ticket: Ticket, own: Sequence[Mapping[str, str]]) -> dict[str, Any]:
    """Return what is known of an instance that a fleet made, as RunInstances would have answered."""
    return {
        "InstanceId": instance_id,
        "State": {"Name": "pending"},
        "Tags": list(own),
        "InstanceLifecycle": "spot",
        "SubnetId": ticket.subnet_id,
        "Placement": {"AvailabilityZone": ticket.zone},
    }


def _refusal(request: ProvisionRequest, errors: Sequence[Mapping[str, Any]]) -> ProviderError:
    """Return why a fleet has no machine: that there was none of any type, unless something else was wrong."""
    said = "; ".join(dict.fromkeys(f"{one.get('ErrorCode')}: {one.get('ErrorMessage')}" for one in errors))
    codes = {one.get("ErrorCode", "") for one in errors}
    message = f"aws: cannot launch {request.name}: {said or 'the fleet has no machine, and EC2 says nothing of it'}"
    if codes & QUOTA:
        return QuotaExceeded(message, hint="ask AWS for a higher quota (Service Quotas), or need less")
    return NoCapacity(message) if codes <= NO_CAPACITY else ProviderError(message)


def _group(template: Mapping[str, Any]) -> str:
    return next((tag["Value"] for tag in template.get("Tags", ()) if tag["Key"] == tags.GROUP), "")
