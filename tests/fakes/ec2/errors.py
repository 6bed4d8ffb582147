"""The errors of the fake: what a caller did wrong, in AWS's codes, and what the fake itself did wrong."""

from infrakit_py.errors import ProviderError, QuotaExceeded, Throttled, Transient


class AwsError(Exception):
    """A refusal as AWS words it: a code that programs read, a message for people, an HTTP status."""

    def __init__(self, code: str, message: str, status: int = 400) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message
        self.status = status


class OwnMistake(Exception):
    """A reply that the service's model does not know. Never the caller's fault."""


def missing(parameter: str) -> AwsError:
    return AwsError("MissingParameter", f"The request must contain the parameter {parameter}")


def bad_value(value: object, parameter: str) -> AwsError:
    return AwsError("InvalidParameterValue", f"Invalid value '{value}' for {parameter}.")


def bad_combination(message: str) -> AwsError:
    return AwsError("InvalidParameterCombination", message)


def refusal(error: ProviderError) -> AwsError:
    """Return an error of the simulated cloud as EC2 words it."""
    match error:
        case QuotaExceeded():
            text = f"You have requested more instances than your current instance limit allows: {error}"
            return AwsError("InstanceLimitExceeded", text)
        case Throttled():
            return AwsError("RequestLimitExceeded", "Request limit exceeded.", 503)
        case Transient():
            return AwsError("InternalError", f"An internal error has occurred: {error}", 500)
        case _:
            return AwsError("InternalFailure", str(error), 500)
