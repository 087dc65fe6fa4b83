"""Turns what botocore and an S3 store say into one StoreError with a code, a sentence and a hint."""

from __future__ import annotations

import datetime as dt
import email.utils
import os
import re
import ssl
from typing import Any

import botocore.exceptions as boto
from aiohttp import ClientError as HttpError
from aiohttp import ClientPayloadError
from botocore.parsers import ResponseParserError

from backends.records import visible
from backends.store import StoreError

CODES = {
    "NoSuchKey": "missing", "NoSuchVersion": "missing", "NoSuchBucket": "no_bucket",
    "AccessDenied": "denied", "AllAccessDisabled": "denied", "AccountProblem": "denied", "403": "denied",
    "PreconditionFailed": "exists", "ConditionalRequestConflict": "conflict", "OperationAborted": "conflict",
    "SlowDown": "throttled", "Throttling": "throttled", "ThrottlingException": "throttled",
    "TooManyRequests": "throttled", "RequestLimitExceeded": "throttled", "BandwidthLimitExceeded": "throttled",
    "InternalError": "unreachable", "ServiceUnavailable": "unreachable",
    "RequestTimeout": "timeout", "RequestTimeoutException": "timeout", "IncompleteBody": "cut",
    "RequestTimeTooSkewed": "clock_skew", "RequestInTheFuture": "clock_skew",
    "ExpiredToken": "credentials", "ExpiredTokenException": "credentials", "TokenRefreshRequired": "credentials",
    "InvalidAccessKeyId": "credentials", "SignatureDoesNotMatch": "credentials", "InvalidToken": "credentials",
    "InvalidClientTokenId": "credentials", "UnrecognizedClientException": "credentials",
    "BadDigest": "damaged", "InvalidDigest": "damaged", "XAmzContentChecksumMismatch": "damaged",
    "AuthorizationHeaderMalformed": "wrong_region", "PermanentRedirect": "wrong_region",
    "IllegalLocationConstraintException": "wrong_region", "301": "wrong_region",
    "ObjectLockConfigurationNotFoundError": "no_lock", "NoSuchObjectLockConfiguration": "no_lock",
    "QuotaExceeded": "no_space", "XMinioStorageFull": "no_space", "InsufficientStorage": "no_space",
    "InvalidBucketName": "bad_address",
}  # fmt: skip

RIGHTS = {
    "PutObject": "s3:PutObject and s3:PutObjectRetention",
    "HeadObject": "s3:GetObject, s3:GetObjectVersion and s3:ListBucket (without it, absence looks like refusal)",
    "GetObject": "s3:GetObject and s3:GetObjectVersion",
    "GetObjectRetention": "s3:GetObjectRetention",
    "PutObjectRetention": "s3:PutObjectRetention",
    "ListObjectVersions": "s3:ListBucketVersions",
    "CopyObject": "s3:PutObject, s3:PutObjectRetention, s3:GetObject and s3:GetObjectVersion",
    "DeleteObject": "s3:DeleteObjectVersion (to the pruning key alone)",
    "GetBucketLifecycleConfiguration": "s3:GetLifecycleConfiguration",
    "GetObjectLockConfiguration": "s3:GetBucketObjectLockConfiguration",
    "GetBucketVersioning": "s3:GetBucketVersioning",
}


def refused(error: Exception, call: str, place: str, profile: str | None) -> StoreError:
    """What `call` of the store at `place` failed of. Never quotes a key: only codes and the store's own sentence."""
    if isinstance(error, StoreError):
        return error
    if isinstance(error, boto.ClientError):
        return _answered(error, call, place, profile)
    for kinds, code, message, hint in _KINDS:
        if isinstance(error, kinds):
            whose = f"profile {visible(profile, 60)}" if profile else "the environment, ~/.aws or the machine's role"
            return StoreError(code, message.format(place=place, what=_reason(error), whose=whose), hint)
    return StoreError("refused", f"{place}: {call} failed: {_reason(error)}", _SEE)


_SEE = "vault doctor says what this store can do"
_LOGIN = "give AWS_PROFILE, AWS_ACCESS_KEY_ID or [vault] profile working credentials"
_SIGN_IN = (
    boto.CredentialRetrievalError, boto.TokenRetrievalError, boto.SSOError, boto.MetadataRetrievalError,
    boto.RefreshWithMFAUnsupportedError, boto.LoginError,
)  # fmt: skip
_NONE = (boto.NoCredentialsError, boto.PartialCredentialsError)
_LATE = (boto.ConnectTimeoutError, boto.ReadTimeoutError, TimeoutError)
_CUT = (boto.ConnectionClosedError, boto.ResponseStreamingError, boto.IncompleteReadError, ClientPayloadError)
_AWAY = (boto.ConnectionError, boto.HTTPClientError, HttpError, OSError)
_WRONG = (boto.ParamValidationError, boto.InvalidRegionError, boto.NoRegionError, ValueError)
# In this order: most of them are kinds of one another.
_KINDS: tuple[tuple[tuple[type[Exception], ...], str, str, str], ...] = (
    ((boto.ProfileNotFound,), "credentials", "there is no AWS {whose}", "see ~/.aws/config and profile in [vault]"),
    (_NONE, "credentials", "there are no credentials for {place} in {whose}", _LOGIN),
    (_SIGN_IN, "credentials", "the credentials for {place} cannot be had: {what}", "sign in again: aws sso login"),
    ((boto.SSLError,), "certificate", "the certificate of {place} is not trusted: {what}", "ca_file in [vault]: a CA"),
    (_LATE, "timeout", "{place} does not answer in time", "the network or the store hangs; try again later"),
    (_CUT, "cut", "the connection to {place} broke off", "try again later"),
    (_AWAY, "unreachable", "no connection to {place}: {what}", "is endpoint in [vault] right, and the way there open?"),
    ((ResponseParserError,), "not_s3", "{place} answers, but not as an S3 store", "endpoint in [vault]: the S3 API"),
    (_WRONG, "bad_address", "{place} cannot be asked: {what}", "see url, endpoint and region in [vault]"),
)
FAILURES = (boto.BotoCoreError, boto.ClientError, ResponseParserError, HttpError, OSError, ValueError)
"""What a call to botocore, and reading what it gives, may raise."""


def _answered(error: boto.ClientError, call: str, place: str, profile: str | None) -> StoreError:
    """A refusal that the store itself sent."""
    said: dict[str, Any] = error.response.get("Error", {})
    answer: dict[str, Any] = error.response.get("ResponseMetadata", {})
    word, status = str(said.get("Code", "")), int(answer.get("HTTPStatusCode", 0))
    sentence = visible(" ".join(str(said.get("Message", "")).split()), 200)
    code = CODES.get(word) or _by_status(status)
    if word in {"InvalidRequest", "NotImplemented", "InvalidArgument"} and re.search(
        r"object.?lock|reten", sentence, re.IGNORECASE
    ):
        code = "no_lock"
    whose = f"profile {visible(profile, 60)}" if profile else "the environment"
    message, hint = {
        "missing": (f"{place} has no such object ({call})", "vault doctor looks for hidden versions"),
        "no_bucket": (f"there is no bucket at {place}", "see url and endpoint in [vault]"),
        "denied": (f"these credentials may not {call} in {place}", f"allow {RIGHTS.get(call, call)}"),
        "exists": (f"{place}: the name is taken ({call})", "choose another name"),
        "credentials": _login(word, place, whose),
        "clock_skew": (f"this machine's clock differs from that of {place} by {_skew(answer)}", "set the clock by NTP"),
        "damaged": (f"{place} received other bytes than were sent", "something on the way changes bytes"),
        "wrong_region": (f"the bucket of {place} lies in another region{_region(error)}", "set region in [vault]"),
        "no_lock": (f"{place} has no Object Lock ({call})", "make a bucket with Object Lock on"),
        "throttled": (f"{place} asks to slow down ({call})", "try again later"),
        "unreachable": (f"{place} fails by itself: status {status} ({call})", "try again later"),
        "no_space": (f"{place} is full", "raise the quota, or prune"),
        "bad_address": (f"{place} cannot exist: {sentence}", "see url in [vault]"),
    }.get(code, (f"{place} refuses {call}: {visible(word, 60) or status} {sentence}".rstrip(), _SEE))  # fmt: skip
    return StoreError(code, message, hint)


def _by_status(status: int) -> str:
    if status in {429, 503}:
        return "throttled"
    if status >= 500:
        return {501: "refused", 507: "no_space"}.get(status, "unreachable")
    return {404: "missing", 403: "denied", 401: "credentials", 409: "conflict", 412: "exists", 301: "wrong_region",
            408: "timeout"}.get(status, "refused")  # fmt: skip


def _login(word: str, place: str, whose: str) -> tuple[str, str]:
    if word in {"ExpiredToken", "ExpiredTokenException", "TokenRefreshRequired"}:
        return f"the credentials for {place} from {whose} have expired", "sign in again, for example aws sso login"
    if word == "SignatureDoesNotMatch":
        return f"the secret key for {place} from {whose} is wrong", "compare it with the one of the store's console"
    return f"{place} does not know the access key from {whose}", _LOGIN


def _skew(answer: dict[str, Any]) -> str:
    """How far the clocks are apart, as the answer's Date tells."""
    seconds = clock_difference(answer)
    return "too much" if seconds is None else f"{round(abs(seconds) / 60)} minutes"


def clock_difference(answer: dict[str, Any]) -> float | None:
    """The store's clock minus ours in seconds, of a `ResponseMetadata`; None where it does not tell."""
    try:
        theirs = email.utils.parsedate_to_datetime(str(answer.get("HTTPHeaders", {}).get("date", "")))
        return (theirs - dt.datetime.now(dt.UTC)).total_seconds()
    except (ValueError, TypeError):
        return None


def _region(error: boto.ClientError) -> str:
    headers = error.response.get("ResponseMetadata", {}).get("HTTPHeaders", {})
    told = headers.get("x-amz-bucket-region") or error.response.get("Error", {}).get("Region", "")
    found = re.search(r"expecting '([a-z0-9-]{3,30})'", str(error.response.get("Error", {}).get("Message", "")))
    word = str(told or (found[1] if found else ""))
    return f": {word}" if re.fullmatch(r"[a-z0-9-]{3,30}", word) else ""


def _reason(error: Exception) -> str:
    """The innermost cause in one line: botocore's sentence repeats the address and hides why."""
    cause: BaseException = error
    for _ in range(5):
        inner = getattr(cause, "os_error", None) or cause.__cause__ or getattr(cause, "kwargs", {}).get("error")
        if not isinstance(inner, BaseException):
            break
        cause = inner
    if isinstance(cause, ssl.SSLCertVerificationError):
        text = cause.verify_message
    elif isinstance(cause, OSError) and cause.errno and cause.errno > 0:
        text = os.strerror(cause.errno).lower()  # asyncio's own words repeat the address
    else:
        text = str(cause) or type(cause).__name__
    return visible(" ".join(text.split()), 150)
