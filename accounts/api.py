"""Accounts for programs: tokens, and who am I. There is no registration here."""

from dataclasses import asdict
from typing import Any

from django.contrib.auth import authenticate
from django.contrib.auth.models import update_last_login
from drf_spectacular.utils import extend_schema, extend_schema_serializer
from rest_framework import exceptions, serializers
from rest_framework.permissions import AllowAny
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts import tokens
from accounts.forms import PASSWORD_MAX_CHARACTERS
from accounts.models import User


class TextField(serializers.CharField):
    """Text only: DRF would take a number for its digits."""

    def to_internal_value(self, data: Any) -> str:
        if not isinstance(data, str):
            self.fail("invalid")
        return super().to_internal_value(data)


@extend_schema_serializer(component_name="Tokens")
class TokensSerializer(serializers.Serializer[tokens.TokenPair]):
    access = serializers.CharField()
    refresh = serializers.CharField()


class TokenDoor(APIView):
    """A door for those who hold no access token yet. What they send in the header is not looked at."""

    authentication_classes = []
    permission_classes = [AllowAny]

    def get_authenticate_header(self, request: Request) -> str:
        return tokens.TokenAuthentication().authenticate_header(request)


class TokenView(TokenDoor):
    @extend_schema_serializer(component_name="Credentials")
    class Input(serializers.Serializer[dict[str, str]]):
        email = TextField(max_length=254)
        password = TextField(max_length=PASSWORD_MAX_CHARACTERS, trim_whitespace=False)

    @extend_schema(request=Input, responses=TokensSerializer)
    def post(self, request: Request) -> Response:
        given = self.Input(data=request.data)
        given.is_valid(raise_exception=True)
        user = authenticate(request._request, **given.validated_data)
        if not isinstance(user, User):
            raise exceptions.AuthenticationFailed("E-mail or password is wrong.")
        update_last_login(User, user)
        return Response(asdict(tokens.create_pair(user=user)))


class RefreshView(TokenDoor):
    @extend_schema_serializer(component_name="Refresh")
    class Input(serializers.Serializer[dict[str, str]]):
        refresh = TextField()

    @extend_schema(request=Input, responses=TokensSerializer)
    def post(self, request: Request) -> Response:
        given = self.Input(data=request.data)
        given.is_valid(raise_exception=True)
        return Response(asdict(tokens.rotate_pair(refresh=given.validated_data["refresh"])))


class MeView(APIView):
    @extend_schema_serializer(component_name="Me")
    class Output(serializers.ModelSerializer[User]):
        class Meta:
            model = User
            fields = ["id", "email", "name", "role"]
            read_only_fields = fields

    @extend_schema(responses=Output)
    def get(self, request: Request) -> Response:
        if not isinstance(request.user, User):
            raise exceptions.NotAuthenticated
        return Response(self.Output(request.user).data)
