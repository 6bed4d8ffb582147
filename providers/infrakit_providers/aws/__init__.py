"""EC2 as a provider: instances as they are made by one call for many, told apart by their tags."""

from infrakit_providers.aws.plugin import AwsPlugin

plugin = AwsPlugin()
