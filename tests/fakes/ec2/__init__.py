"""A stand-in for EC2 and what belongs to it: one simulated cloud behind the API that boto3 talks to.

Requests are read, and replies written, by botocore's own models of the services; what a model does not know is an
error on either side. What it behaves like is what AWS documents. It has never been compared with AWS itself.
"""

from tests.fakes.ec2.server import FakeEC2
from tests.fakes.ec2.settings import FakeSettings

__all__ = ["FakeEC2", "FakeSettings"]
