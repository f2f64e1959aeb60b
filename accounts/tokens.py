"""Tokens of the API: a short-lived access token and a refresh token, signed with JWT_SECRET (simplejwt).

Both die with the password they were made for and with the account; each request asks the database.
"""

import hmac
from dataclasses import dataclass

from rest_framework_simplejwt.authentication import JWTAuthentication
from rest_framework_simplejwt.exceptions import InvalidToken, TokenError
from rest_framework_simplejwt.settings import api_settings
from rest_framework_simplejwt.tokens import AccessToken, RefreshToken, Token
from rest_framework_simplejwt.utils import get_md5_hash_password

from accounts.models import User

# Ours have about 500 characters. Longer ones are not looked into: nested JSON in a header can cost a lot.
TOKEN_MAX_BYTES = 4096


@dataclass(frozen=True, slots=True)
class TokenPair:
    access: str
    refresh: str


class TokenAuthentication(JWTAuthentication):
    """`Authorization: Bearer <access>`. Whatever is wrong with a token, the answer is 401."""

    def get_validated_token(self, raw_token: bytes) -> Token:
        return read_token(AccessToken, raw_token)

    def get_user(self, validated_token: Token) -> User:  # type: ignore[override]  # theirs is any user model
        return find_owner(validated_token)


def create_pair(*, user: User) -> TokenPair:
    """New tokens for a person who has just proved who they are."""
    refresh = RefreshToken.for_user(user)
    access = refresh.access_token
    access["email"], access["role"] = user.email, user.role
    return TokenPair(access=str(access), refresh=str(refresh))


def rotate_pair(*, refresh: str) -> TokenPair:
    """New tokens for a refresh token. Raises InvalidToken."""
    return create_pair(user=find_owner(read_token(RefreshToken, refresh.encode(errors="replace"))))


def authenticate(access: bytes) -> User:
    """The owner of an access token. Raises InvalidToken."""
    return find_owner(read_token(AccessToken, access))


def read_token(kind: type[Token], raw: bytes) -> Token:
    """A token of this kind whose signature and times are right. Raises InvalidToken."""
    if len(raw) > TOKEN_MAX_BYTES:
        raise InvalidToken
    try:
        return kind(raw)  # type: ignore[arg-type]  # bytes, as JWTAuthentication gives it
    except (TokenError, ValueError, TypeError, OverflowError, RecursionError) as error:
        raise InvalidToken from error


def find_owner(token: Token) -> User:
    """The active owner whose password has not changed since. Raises InvalidToken."""
    try:
        user = User.objects.get(pk=int(token[api_settings.USER_ID_CLAIM]), is_active=True)
    except (User.DoesNotExist, KeyError, ValueError, TypeError, OverflowError) as error:
        raise InvalidToken from error
    proof = str(token.get(api_settings.REVOKE_TOKEN_CLAIM, ""))
    if not hmac.compare_digest(proof.encode(), get_md5_hash_password(user.password).encode()):
        raise InvalidToken
    return user
