"""How the API's own description (OpenAPI) names our authentication."""

from drf_spectacular.contrib.rest_framework_simplejwt import SimpleJWTScheme


class TokenScheme(SimpleJWTScheme):  # type: ignore[no-untyped-call]  # registers itself by being defined
    target_class = "accounts.tokens.TokenAuthentication"
    name = "token"
