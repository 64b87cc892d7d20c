"""How the service says no: an HTTP status and an error object, the specific reason in its `innererror`."""

from typing import Any


class ApiError(Exception):
    """A request is refused.

    Attributes:
        status: the HTTP status.
        code: the general code, for example InvalidRequest; also the header `x-ms-error-code`.
        message: a sentence for the caller.
        inner_code: the specific code, or None.
        retry_after: seconds for the header Retry-After, or None.
    """

    def __init__(
        self, status: int, code: str, message: str, *, inner_code: str | None = None, retry_after: int | None = None
    ) -> None:
        self.status = status
        self.code = code
        self.message = message
        self.inner_code = inner_code
        self.retry_after = retry_after
        super().__init__(f"{status} {inner_code or code}: {message}")

    @property
    def body(self) -> dict[str, Any]:
        """Return the JSON of the answer."""
        return {"error": error_object(self.code, self.message, self.inner_code)}

    @property
    def headers(self) -> dict[str, str]:
        """Return the headers of the answer."""
        wait = {} if self.retry_after is None else {"Retry-After": str(self.retry_after)}
        return {"x-ms-error-code": self.code, **wait}


def error_object(code: str, message: str, inner_code: str | None = None) -> dict[str, Any]:
    """Return `{"code", "message", "innererror"?: {"code", "message"}}`."""
    if inner_code is None:
        return {"code": code, "message": message}
    general = {"InvalidArgument": "Invalid argument.", "NotFound": "Not found."}.get(code, "Invalid request.")
    return {"code": code, "message": general, "innererror": {"code": inner_code, "message": message}}


def bad_request(inner_code: str, message: str) -> ApiError:
    """Return the refusal of a request that breaks a rule."""
    return ApiError(400, "InvalidRequest", message, inner_code=inner_code)
