"""What boto3 raises, as errors that name the object, what went wrong and what to do about it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from botocore import exceptions as aws

from nas_core.errors import OutsideError

NOT_FOUND = {"NoSuchKey", "NoSuchVersion", "404"}
TAKEN = {"PreconditionFailed", "412"}
CONFLICT = {"ConditionalRequestConflict", "OperationAborted", "409"}
NO_UPLOAD = {"NoSuchUpload"}

_NO_CREDENTIALS = (
    aws.NoCredentialsError,
    aws.PartialCredentialsError,
    aws.CredentialRetrievalError,
    aws.NoAuthTokenError,
    aws.TokenRetrievalError,
    aws.ProfileNotFound,
    aws.SSOError,
    aws.LoginError,
)
_UNREACHABLE = (aws.ConnectionError, aws.HTTPClientError)
_FIX_CREDENTIALS = "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, AWS_PROFILE, or give the pod a role"
_FIX_ACCESS = (
    "the credentials need s3:GetObject, s3:PutObject and s3:DeleteObject on the prefix, s3:ListBucket on the bucket, "
    "for anchors also s3:PutObjectRetention, s3:GetBucketObjectLockConfiguration and s3:ListBucketVersions"
)
_FIXES = {
    "NoSuchBucket": "there is no such bucket; make it, or check its name, AWS_REGION and AWS_ENDPOINT_URL_S3",
    "AccessDenied": f"access denied; {_FIX_ACCESS}",
    "403": f"access denied; {_FIX_ACCESS}",
    "InvalidAccessKeyId": f"the access key is not known there; {_FIX_CREDENTIALS}",
    "SignatureDoesNotMatch": "the secret key is not right; check AWS_SECRET_ACCESS_KEY and AWS_REGION",
    "ExpiredToken": f"the credentials have expired; renew them, or {_FIX_CREDENTIALS}",
    "PermanentRedirect": "the bucket is in another region; set AWS_REGION to the bucket's",
    "301": "the bucket is in another region; set AWS_REGION to the bucket's",
    "AuthorizationHeaderMalformed": "the bucket is in another region; set AWS_REGION to the bucket's",
    "PreconditionFailed": "the object was replaced meanwhile; do it again",
    "RequestTimeTooSkewed": "this machine's clock is wrong; set it",
    "NotImplemented": "the server does not know this request; it has to be S3 with conditional writes",
}


def code_of(error: aws.ClientError) -> str:
    """Return what the server called its error: `NoSuchKey`, or the HTTP status where the answer has no body."""
    return str(error.response.get("Error", {}).get("Code", ""))


@contextmanager
def s3_errors(action: str, bucket: str, key: str) -> Iterator[None]:
    """Turn what boto3 raises in the block into an OutsideError: `cannot <action> s3://<bucket>/<key>`."""
    try:
        yield
    except aws.ClientError as error:
        raise OutsideError(f"storage: cannot {action} s3://{bucket}/{key}: {_told(error)}") from error
    except _NO_CREDENTIALS as error:
        what = f"{_line(error)}; {_FIX_CREDENTIALS}"
        raise OutsideError(f"storage: cannot {action} s3://{bucket}/{key}: {what}") from error
    except _UNREACHABLE as error:
        what = f"no answer ({_line(error)}); check the network and AWS_ENDPOINT_URL_S3"
        raise OutsideError(f"storage: cannot {action} s3://{bucket}/{key}: {what}") from error
    except aws.BotoCoreError as error:
        what = f"{type(error).__name__}: {_line(error)}; check the AWS settings"
        raise OutsideError(f"storage: cannot {action} s3://{bucket}/{key}: {what}") from error


def _told(error: aws.ClientError) -> str:
    code = code_of(error)
    known = _FIXES.get(code)
    if known:
        return f"{known} ({code})"
    message = str(error.response.get("Error", {}).get("Message", "")) or "no message"
    return f"the server answered {code or 'an error'}: {message}; try again later, or see the server's log"


def _line(error: Exception) -> str:
    return " ".join(str(error).split()).rstrip(".")
