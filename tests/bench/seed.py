"""Run inside the product (`manage.py shell`): what a bench needs that no newcomer has, and what only Django can count."""

import json
import uuid
from datetime import timedelta
from typing import Any

from django.db import connection
from django.test import Client
from django.utils import timezone

from accounts import services, tokens
from accounts.models import User
from conversations.models import Author, Conversation, Message
from providers.models import ChatModel, Provider

MARKDOWN = "\n\n- **first** of `two`\n- second\n\n```python\nfor turn in range(5):\n    print(turn)\n```\n"


def seed(*, upstream: str, people: int, lengths: dict[int, int]) -> None:
    """A provider, people with tokens, and for the first of them so many conversations of each length. Prints it all as JSON."""
    provider = Provider.objects.create(name="Bench", base_url=f"{upstream}/v1", allow_private_address=True)
    model = ChatModel.objects.create(provider=provider, name="bench", is_default=True, context_tokens=100_000)
    users = [services.create_user(email=f"viewer{number}@example.test", password=None) for number in range(people)]
    made = {
        "bearers": [tokens.create_pair(user=user).access for user in users],
        "conversations": {
            length: [str(make_conversation(users[0], model, length).id) for _ in range(copies)]
            for length, copies in lengths.items()
        },
    }
    print(json.dumps(made))


def make_conversation(owner: User, model: ChatModel, length: int) -> Conversation:
    """`length` messages, question and answer in turn, one path, all of it of yesterday."""
    yesterday = timezone.now() - timedelta(days=1)
    ids = [uuid.uuid4() for _ in range(length)]
    conversation = Conversation.objects.create(owner=owner, title=f"{length} messages", model=model, message_count=length)
    roles = (Author.USER, Author.ASSISTANT)
    Message.objects.bulk_create(
        Message(
            id=ids[number],
            conversation=conversation,
            parent_id=ids[number - 1] if number else None,
            sequence=number + 1,
            role=roles[number % 2],
            text=f"Turn {number}: " + "some words of ordinary length " * 6 + MARKDOWN * (number % 2),
            model=model if number % 2 else None,
            finished_at=yesterday if number % 2 else None,
        )
        for number in range(length)
    )
    Conversation.objects.filter(id=conversation.id).update(active_leaf=ids[-1])
    return conversation


def count_queries(*, bearer: str, conversation: str, question: str) -> None:
    """Send once through the whole HTTP stack and print how many statements that took."""
    statements: list[str] = []

    def note(execute: Any, sql: str, *arguments: Any) -> Any:
        statements.append(sql)
        return execute(sql, *arguments)

    client = Client(SERVER_NAME="localhost", headers={"Authorization": f"Bearer {bearer}"})
    with connection.execute_wrapper(note):
        path = f"/api/v1/conversations/{conversation}/messages"
        answer = client.post(path, {"text": question}, content_type="application/json")
    assert answer.status_code == 202, answer.content
    print(json.dumps({"queries": len(statements), "reply": answer.json()["reply"]["id"]}))


def sign_in(*, email: str) -> None:
    """A browser's session. Prints its cookies."""
    client = Client(SERVER_NAME="localhost")
    client.force_login(User.objects.get(email=email))
    print(json.dumps({name: morsel.value for name, morsel in client.cookies.items()}))
