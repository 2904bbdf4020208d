"""The credentials of each deployed function's role: random for each start of the stack, and the same for all who know it.

ministack makes them from the function's and the role's ARN alone, so whoever knows the template knows them. Here the secret
of this start goes into them. The emulator hands them to its functions; the bridge makes them once more to check what the
functions signed.
"""

import hashlib
import hmac


def execution_credentials(configuration: dict, secret: str) -> dict[str, str]:
    """The environment variables by which a function signs, by its configuration's `FunctionArn` and `Role`."""
    of = f"{configuration['FunctionArn']} {configuration['Role']}"

    def made(what: str) -> str:
        return hmac.new(secret.encode(), f"{what} {of}".encode(), hashlib.sha256).hexdigest()

    return {
        "AWS_ACCESS_KEY_ID": f"ASIA{made('access key id')[:16].upper()}",
        "AWS_SECRET_ACCESS_KEY": made("secret access key"),
        "AWS_SESSION_TOKEN": made("session token"),
    }
