"""The pages of the chat: parse, call, render. Every form works without JavaScript by POST and redirect.

Scripts ask with `Accept: application/json` and get JSON, errors included (`chatbox.errors`); a person gets a page, and
what was typed is never lost: a refusal shows the page again with the text in the composer.
"""

from contextlib import suppress
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import redirect, render
from django.template.loader import render_to_string
from django.urls import reverse
from django.utils import timezone
from django.utils.dateparse import parse_datetime
from django.utils.http import url_has_allowed_host_and_scheme
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from accounts.models import User
from conversations import drafts, pages, queries, services
from conversations.errors import ConversationNotFound, MessageNotFound, ReplyFinished, TextInvalid
from conversations.forms import DraftForm, MessageForm, ModelForm, RenameForm, ThemeForm
from conversations.models import Author, Message
from ops.errors import ChatboxError

THEME_AGE_S = 60 * 60 * 24 * 365


class SignedInRequest(HttpRequest):
    """What `login_required` lets through."""

    user: User


@login_required
@require_http_methods(["GET", "POST"])
def new(request: SignedInRequest) -> HttpResponse:
    """The first page, and the door that starts a chat with its first message."""
    if request.method == "GET":
        return _render_new(request, text=request.GET.get("text", ""))
    try:
        sent = services.start_conversation(user=request.user, **MessageForm(request.POST).read())
    except ChatboxError as error:
        return _refuse_new(request, error)
    url = reverse("conversations:detail", args=[sent.message.conversation_id])
    return JsonResponse({"url": url}, status=201) if _wants_json(request) else redirect(url)


@login_required
@require_GET
def detail(request: SignedInRequest, conversation_id: UUID) -> HttpResponse:
    conversation = queries.get_conversation(user=request.user, conversation_id=conversation_id)
    page = pages.build_conversation_page(user=request.user, conversation=conversation, before=_read_before(request))
    return _render(request, "conversations/conversation.html", page)


@login_required
@require_POST
def send(request: SignedInRequest, conversation_id: UUID) -> HttpResponse:
    """202 with the new turns as HTML for scripts, a redirect for people. While a reply is written, the message waits for it."""
    try:
        data = MessageForm(request.POST).read()
        sent = services.send_message(user=request.user, conversation_id=conversation_id, when_running="queue", **data)
    except ChatboxError as error:
        return _refuse(request, error, conversation_id)
    return _show_answered(request, sent.reply)


@login_required
@require_http_methods(["GET", "POST"])
def edit(request: SignedInRequest, message_id: UUID) -> HttpResponse:
    """The same turn in other words. GET is the page for readers without scripts."""
    message = queries.get_message(user=request.user, message_id=message_id)
    if message.role != Author.USER:
        raise MessageNotFound
    if request.method == "GET":
        return render(request, "conversations/edit.html", {"message": message, "text": message.text})
    try:
        data = MessageForm(request.POST).read()
        sent = services.edit_message(user=request.user, message_id=message_id, text=data["text"], model_id=data["model_id"])
    except ChatboxError as error:
        if _wants_json(request):
            raise
        page = {"message": message, "text": request.POST.get("text", ""), "error": error.message}
        return render(request, "conversations/edit.html", page, status=422)
    return _show_answered(request, sent.reply)


@login_required
@require_POST
def stop(request: SignedInRequest, message_id: UUID) -> HttpResponse:
    """A reply that has ended meanwhile is as stopped as anyone could wish. A message that is withdrawn so comes back into the
    box: scripts are told to do that, people find it on the page.
    """
    message = queries.get_message(user=request.user, message_id=message_id)
    is_withdrawn = False
    with suppress(ReplyFinished):
        is_withdrawn = services.stop_reply(user=request.user, message_id=message_id)
    if is_withdrawn and message.parent and not _wants_json(request):
        drafts.give_back(user=request.user, conversation_id=message.conversation_id, text=message.parent.text)
    response = redirect("conversations:detail", message.conversation_id)
    return _answer(request, response, {"withdrawn": True} if is_withdrawn else None)


@login_required
@require_http_methods(["GET", "POST"])
def retry(request: SignedInRequest, message_id: UUID) -> HttpResponse:
    """Write a reply again, beside the old one. GET lets readers without scripts choose the model."""
    message = queries.get_message(user=request.user, message_id=message_id)
    if message.role != Author.ASSISTANT:
        raise MessageNotFound
    if request.method == "GET":
        page = {"message": message, "picker": pages.build_picker(wanted_id=message.model_id)}
        return render(request, "conversations/retry.html", page)
    try:
        model_id = ModelForm(request.POST).read()
        reply = services.regenerate_reply(user=request.user, message_id=message_id, model_id=model_id)
    except ChatboxError as error:
        return _refuse(request, error, message.conversation_id)
    return _show_answered(request, reply, with_message=False)


@login_required
@require_POST
def continue_(request: SignedInRequest, message_id: UUID) -> HttpResponse:
    """Write on where a reply broke off, in a sibling of it."""
    message = queries.get_message(user=request.user, message_id=message_id)
    try:
        reply = services.continue_reply(user=request.user, message_id=message_id)
    except ChatboxError as error:
        return _refuse(request, error, message.conversation_id)
    return _show_answered(request, reply, with_message=False)


@login_required
@require_POST
def select(request: SignedInRequest, message_id: UUID) -> HttpResponse:
    """Show another branch. Scripts get the newest page of it."""
    conversation = services.select_branch(user=request.user, message_id=message_id)
    if not _wants_json(request):
        return redirect(f"{reverse('conversations:detail', args=[conversation.id])}#m-{message_id}")
    page = {"conversation": conversation, "thread": pages.build_thread(conversation=conversation)}
    return JsonResponse({"html": render_to_string("conversations/_path.html", page, request)})


@login_required
@require_POST
def save_draft(request: SignedInRequest, conversation_id: UUID | None = None) -> HttpResponse:
    """Scripts hear the draft's revision now, and whether theirs is the text that is kept."""
    saved = drafts.save_draft(user=request.user, conversation_id=conversation_id, **DraftForm(request.POST).read())
    url = reverse("conversations:detail", args=[conversation_id]) if conversation_id else reverse("conversations:new")
    return _answer(request, redirect(url), {"revision": saved.revision, "is_kept": saved.is_kept})


@login_required
@require_GET
def show_footer(request: SignedInRequest, message_id: UUID) -> HttpResponse:
    """What stands under a reply that has ended."""
    message = queries.get_message(user=request.user, message_id=message_id)
    queries.attach_siblings([message])
    return render(request, "conversations/_footer.html", {"message": message})


@login_required
@require_GET
def show_turn(request: SignedInRequest, conversation_id: UUID, message_id: UUID) -> HttpResponse:
    """A reply that started elsewhere, with the message it answers. Nothing (204) when it is on a branch that is not shown."""
    reply = queries.get_message(user=request.user, message_id=message_id)
    if reply.conversation_id != conversation_id:
        raise MessageNotFound
    thread = pages.find_started(conversation=reply.conversation, reply=reply)
    if thread is None:
        return HttpResponse(status=204)
    return render(request, "conversations/_turns.html", {"thread": thread})


@login_required
@require_GET
def list_earlier(request: SignedInRequest, conversation_id: UUID) -> HttpResponse:
    conversation = queries.get_conversation(user=request.user, conversation_id=conversation_id)
    thread = pages.build_thread(conversation=conversation, before=_read_before(request))
    return render(request, "conversations/_path.html", {"conversation": conversation, "thread": thread})


@login_required
@require_GET
def list_chats(request: SignedInRequest) -> HttpResponse:
    """The next page of the sidebar; without scripts, the first page with that part of the list open."""
    sidebar = pages.build_sidebar(user=request.user, before=_read_time(request.GET.get("before", "")))
    if request.headers.get("HX-Request"):
        return _render(request, "conversations/_chats.html", {"sidebar": sidebar, "after": request.GET.get("after", "")})
    page = pages.build_new_page(user=request.user)
    return _render(request, "conversations/new.html", {**page, "sidebar": sidebar, "is_nav_open": True})


@login_required
@require_http_methods(["GET", "POST"])
def rename(request: SignedInRequest, conversation_id: UUID) -> HttpResponse:
    conversation = queries.get_conversation(user=request.user, conversation_id=conversation_id)
    form = RenameForm(request.POST if request.method == "POST" else None, initial={"title": conversation.title})
    if form.is_bound and not form.is_valid() and _wants_json(request):
        raise TextInvalid(str(form.errors["title"][0]))
    if not form.is_bound or not form.is_valid():
        page = {"conversation": conversation, "form": form}
        return render(request, "conversations/rename.html", page, status=422 if form.is_bound else 200)
    title = form.cleaned_data["title"]
    services.rename_conversation(user=request.user, conversation_id=conversation_id, title=title)
    return _answer(request, redirect("conversations:detail", conversation_id), {"title": title})


@login_required
@require_http_methods(["GET", "POST"])
def delete(request: SignedInRequest, conversation_id: UUID) -> HttpResponse:
    """GET asks, POST does it."""
    if request.method == "GET":
        conversation = queries.get_conversation(user=request.user, conversation_id=conversation_id)
        return render(request, "conversations/delete.html", {"conversation": conversation})
    services.delete_conversation(user=request.user, conversation_id=conversation_id)
    return _answer(request, redirect("conversations:new"))


@require_POST
def set_theme(request: HttpRequest) -> HttpResponse:
    """Keeps the choice in a cookie, so that the server writes the page in the right colours from the first byte."""
    response = redirect(_get_own_address(request))
    form = ThemeForm(request.POST)
    if form.is_valid():
        response.set_cookie(
            "theme", form.cleaned_data["theme"], max_age=THEME_AGE_S, secure=request.is_secure(), samesite="Lax"
        )
    return response


def _wants_json(request: HttpRequest) -> bool:
    return request.headers.get("Accept", "").startswith("application/json")


def _answer(request: HttpRequest, response: HttpResponse, data: dict[str, Any] | None = None) -> HttpResponse:
    return JsonResponse(data or {}) if _wants_json(request) else response


def _render(request: HttpRequest, template: str, page: dict[str, object], *, status: int = 200) -> HttpResponse:
    with timezone.override(pages.get_zone(request)):
        return render(request, template, page, status=status)


def _render_new(request: SignedInRequest, *, status: int = 200, error: str = "", **kept: Any) -> HttpResponse:
    page = pages.build_new_page(user=request.user, **kept)
    return _render(request, "conversations/new.html", {**page, "error": error}, status=status)


def _show_answered(request: HttpRequest, reply: Message, *, with_message: bool = True) -> HttpResponse:
    """202 with what is new on the page as HTML for scripts, the whole page for people."""
    if not _wants_json(request):
        return redirect("conversations:detail", reply.conversation_id)
    thread = pages.build_answered(reply=reply, with_message=with_message)
    html = render_to_string("conversations/_turns.html", {"thread": thread}, request)
    return JsonResponse({"message": reply.parent_id, "reply": reply.id, "html": html}, status=202)


def _refuse_new(request: SignedInRequest, error: ChatboxError) -> HttpResponse:
    if _wants_json(request):
        raise error
    return _render_new(request, status=422, error=error.message, text=request.POST.get("text", ""))


def _refuse(request: SignedInRequest, error: ChatboxError, conversation_id: UUID) -> HttpResponse:
    """The conversation again, with the reason and the text; a script gets the error itself."""
    if _wants_json(request) or isinstance(error, (ConversationNotFound, MessageNotFound)):
        raise error
    conversation = queries.get_conversation(user=request.user, conversation_id=conversation_id)
    text = request.POST.get("text", "")
    page = pages.build_conversation_page(user=request.user, conversation=conversation, text=text)
    return _render(request, "conversations/conversation.html", {**page, "error": error.message}, status=422)


def _read_before(request: HttpRequest) -> UUID | None:
    """The message above which to read; one that is no id shows nothing but what a stranger would see."""
    value = request.GET.get("before")
    try:
        return UUID(value) if value else None
    except ValueError:
        raise MessageNotFound from None


def _read_time(value: str) -> datetime | None:
    """`+` in a query string may arrive as a space."""
    try:
        moment = parse_datetime(value.replace(" ", "+"))
        return moment.astimezone(UTC) if moment and timezone.is_aware(moment) else None
    except (ValueError, OverflowError):
        return None


def _get_own_address(request: HttpRequest) -> str:
    """Where the form was, if that was here."""
    address = request.POST.get("next", "")
    is_ours = url_has_allowed_host_and_scheme(address, allowed_hosts=None) and address.startswith("/")
    return address if is_ours else reverse("conversations:new")
