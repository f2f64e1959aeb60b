"""The API's doors: parse, call a service, render. Errors become HTTP in `chatbox.errors`."""

import contextlib
import time
from collections.abc import AsyncIterator
from datetime import UTC
from typing import Any, cast
from uuid import UUID

from django.db import connection
from django.http import StreamingHttpResponse
from django.utils.dateparse import parse_datetime
from drf_spectacular.utils import extend_schema, extend_schema_serializer
from rest_framework import serializers, status
from rest_framework.exceptions import ValidationError
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts.models import User
from conversations import queries, services
from conversations.errors import ConversationNotFound
from conversations.models import Conversation, Message, Siblings
from conversations.stream.feed import Feed
from conversations.stream.reading import in_reader

RECHECK_S = 4  # an event stream is in no group that could be told to close


def get_user(request: Request) -> User:
    return cast(User, request.user)


def get_key(request: Request) -> str:
    """Whatever makes a provider call may be sent again under the same key."""
    return str(request.headers.get("Idempotency-Key", ""))


class ConversationOut(serializers.ModelSerializer[Conversation]):
    class Meta:
        model = Conversation
        fields = ("id", "title", "model", "created_at", "updated_at")
        read_only_fields = fields


class MessageOut(serializers.ModelSerializer[Message]):
    model = serializers.CharField(source="model_label", read_only=True)
    usage = serializers.JSONField(read_only=True)
    error = serializers.JSONField(read_only=True)

    class Meta:
        model = Message
        fields: tuple[str, ...] = (
            "id", "conversation", "role", "state", "text", "reasoning", "parent", "model", "usage", "error",
            "finish_reason", "created_at", "finished_at",
        )  # fmt: skip
        read_only_fields = fields


class SiblingsOut(serializers.Serializer[Siblings]):
    position = serializers.IntegerField()
    count = serializers.IntegerField()


class PathMessageOut(MessageOut):
    """In a list of a path, where it costs nothing, a message also says where it stands among its siblings."""

    siblings = SiblingsOut(read_only=True)

    class Meta(MessageOut.Meta):
        fields = (*MessageOut.Meta.fields, "siblings")
        read_only_fields = fields


class PathOut(serializers.Serializer[queries.Path]):
    messages = PathMessageOut(many=True)
    has_more = serializers.BooleanField()


class SentOut(serializers.Serializer[services.Sent]):
    message = MessageOut()
    reply = MessageOut()
    replies = MessageOut(many=True)


class Strict(serializers.Serializer[Any]):
    """Input with unknown fields is refused: a misspelt field must not be ignored silently."""

    def to_internal_value(self, data: Any) -> Any:
        if isinstance(data, dict) and (unknown := set(data) - set(self.fields)):
            raise ValidationError({"non_field_errors": [f"Unknown field: {', '.join(sorted(map(str, unknown)))[:100]}."]})
        return super().to_internal_value(data)


Writer = serializers.BaseSerializer[Any]
# One of each kind, kept: to work out the fields of a model takes longer than to write them.
_writers: dict[type[Writer], Writer] = {}


def show(kind: type[Writer], value: object) -> dict[str, Any]:
    writer = _writers.get(kind) or _writers.setdefault(kind, kind())
    return cast(dict[str, Any], writer.to_representation(value))


def parse(kind: type[Strict], request: Request) -> dict[str, Any]:
    serializer = kind(data=request.data)
    serializer.is_valid(raise_exception=True)
    return cast(dict[str, Any], serializer.validated_data)


class ConversationsView(APIView):
    @extend_schema_serializer(component_name="ConversationIn")
    class Input(Strict):
        title = serializers.CharField(max_length=200, required=False, default="")
        model = serializers.UUIDField(required=False, default=None)

    @extend_schema(responses=ConversationOut(many=True))
    def get(self, request: Request) -> Response:
        before = parse_time(request.query_params.get("before", ""))
        conversations = queries.list_conversations(user=get_user(request), before=before)
        return Response({"conversations": [show(ConversationOut, conversation) for conversation in conversations]})

    @extend_schema(request=Input, responses={201: ConversationOut})
    def post(self, request: Request) -> Response:
        data = parse(self.Input, request)
        conversation = services.create_conversation(user=get_user(request), title=data["title"], model_id=data["model"])
        return Response(show(ConversationOut, conversation), status=status.HTTP_201_CREATED)


class ConversationView(APIView):
    @extend_schema_serializer(component_name="TitleIn")
    class Input(Strict):
        title = serializers.CharField(max_length=200)

    @extend_schema(responses=ConversationOut)
    def get(self, request: Request, conversation_id: UUID) -> Response:
        conversation = queries.get_conversation(user=get_user(request), conversation_id=conversation_id)
        return Response(show(ConversationOut, conversation))

    @extend_schema(request=Input, responses=ConversationOut)
    def patch(self, request: Request, conversation_id: UUID) -> Response:
        title = parse(self.Input, request)["title"]
        services.rename_conversation(user=get_user(request), conversation_id=conversation_id, title=title)
        return self.get(request, conversation_id)

    @extend_schema(responses={204: None})
    def delete(self, request: Request, conversation_id: UUID) -> Response:
        services.delete_conversation(user=get_user(request), conversation_id=conversation_id)
        return Response(status=status.HTTP_204_NO_CONTENT)


class MessagesView(APIView):
    @extend_schema_serializer(component_name="MessageIn")
    class Input(Strict):
        text = serializers.CharField(trim_whitespace=False)
        model = serializers.UUIDField(required=False, default=None)
        models = serializers.ListField(child=serializers.UUIDField(), required=False, default=list)
        when_running = serializers.ChoiceField(choices=["refuse", "queue"], required=False, default="refuse")
        parent: Any = serializers.UUIDField(required=False, default=None)  # DRF's own `parent` is not an input

    @extend_schema(responses=PathOut)
    def get(self, request: Request, conversation_id: UUID) -> Response:
        """The newest page of the active path, oldest first; older ones by `?before=<id of the first>`."""
        conversation = queries.get_conversation(user=get_user(request), conversation_id=conversation_id)
        page = queries.list_path(conversation=conversation, before=parse_id(request.query_params.get("before", "")))
        return Response(show(PathOut, page))

    @extend_schema(request=Input, responses={202: SentOut})
    def post(self, request: Request, conversation_id: UUID) -> Response:
        data = parse(self.Input, request)
        sent = services.send_message(
            user=get_user(request),
            conversation_id=conversation_id,
            text=data["text"],
            model_id=data["model"],
            model_ids=data["models"],
            when_running=data["when_running"],
            parent_id=data["parent"],
            idempotency_key=get_key(request),
        )
        return Response(show(SentOut, sent), status=status.HTTP_202_ACCEPTED)


class MessageView(APIView):
    @extend_schema(responses=MessageOut)
    def get(self, request: Request, message_id: UUID) -> Response:
        return Response(show(MessageOut, queries.get_message(user=get_user(request), message_id=message_id)))


class StopView(APIView):
    @extend_schema(request=None, responses={202: None})
    def post(self, request: Request, message_id: UUID) -> Response:
        services.stop_reply(user=get_user(request), message_id=message_id)
        return Response(status=status.HTTP_202_ACCEPTED)


class RegenerateView(APIView):
    @extend_schema_serializer(component_name="RegenerateIn")
    class Input(Strict):
        model = serializers.UUIDField(required=False, default=None)

    @extend_schema(request=Input, responses={202: MessageOut})
    def post(self, request: Request, message_id: UUID) -> Response:
        data = parse(self.Input, request)
        reply = services.regenerate_reply(
            user=get_user(request), message_id=message_id, model_id=data["model"], idempotency_key=get_key(request)
        )
        return Response({"reply": show(MessageOut, reply)}, status=status.HTTP_202_ACCEPTED)


class ContinueView(APIView):
    @extend_schema(request=None, responses={202: MessageOut})
    def post(self, request: Request, message_id: UUID) -> Response:
        reply = services.continue_reply(user=get_user(request), message_id=message_id, idempotency_key=get_key(request))
        return Response({"reply": show(MessageOut, reply)}, status=status.HTTP_202_ACCEPTED)


class SelectView(APIView):
    @extend_schema(request=None, responses=PathOut)
    def post(self, request: Request, message_id: UUID) -> Response:
        """Lead the active path through this message. Answers with the newest page of the path."""
        conversation = services.select_branch(user=get_user(request), message_id=message_id)
        return Response(show(PathOut, queries.list_path(conversation=conversation)))


class EditView(APIView):
    @extend_schema_serializer(component_name="EditIn")
    class Input(Strict):
        text = serializers.CharField(trim_whitespace=False)
        model = serializers.UUIDField(required=False, default=None)

    @extend_schema(request=Input, responses={202: SentOut})
    def post(self, request: Request, message_id: UUID) -> Response:
        data = parse(self.Input, request)
        sent = services.edit_message(
            user=get_user(request),
            message_id=message_id,
            text=data["text"],
            model_id=data["model"],
            idempotency_key=get_key(request),
        )
        return Response(show(SentOut, sent), status=status.HTTP_202_ACCEPTED)


class EventsView(APIView):
    """The same events as on the WebSocket, as server-sent events, until the reply has ended."""

    @extend_schema(responses={(200, "text/event-stream"): str})
    def get(self, request: Request, message_id: UUID) -> StreamingHttpResponse:
        message = queries.get_message(user=get_user(request), message_id=message_id)
        at = parse_count(request.query_params.get("at", "0"))
        connection.close()  # Django would hold it until the stream ends, and for ever if the stream raises
        response = StreamingHttpResponse(
            stream_events(message, at=at, user=get_user(request)), content_type="text/event-stream"
        )
        response["X-Accel-Buffering"] = "no"
        return response


async def stream_events(message: Message, *, at: int, user: User) -> AsyncIterator[str]:
    """Ends with the reply, when its conversation is deleted, and within seconds of its reader losing access."""
    checked_at = time.monotonic()
    with contextlib.suppress(ConversationNotFound):
        async with Feed(message.conversation_id, wanted="text") as feed:
            feed.resume(message.id, at=at)
            async for frame in feed.listen():
                yield f"data: {frame}\n\n"
                if f'"reply.finished","reply":"{message.id}"' in frame:
                    return
                if time.monotonic() - checked_at > RECHECK_S:
                    checked_at = time.monotonic()
                    if not await may_go_on(user):
                        return


@in_reader
def may_go_on(user: User) -> bool:
    """Is the account still on, with the password it came in with?"""
    return User.objects.filter(pk=user.pk, is_active=True, password=user.password).exists()


def parse_count(text: str) -> int:
    if not text.isascii() or not text.isdigit() or len(text) > 9:
        raise ValidationError("at: a number of characters.")
    return int(text)


def parse_id(text: str) -> UUID | None:
    try:
        return UUID(text) if text else None
    except ValueError as error:
        raise ValidationError("before: the id of a message.") from error


def parse_time(text: str) -> Any:
    if not text:
        return None
    try:
        moment = parse_datetime(text)
        if moment and moment.tzinfo:
            return moment.astimezone(UTC)
    except (ValueError, OverflowError):
        pass
    raise ValidationError("before: a time like 2026-01-31T12:00:00Z.")
