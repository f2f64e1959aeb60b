"""Addresses of the chat pages, under /chat/."""

from django.urls import path

from conversations import views

app_name = "conversations"
urlpatterns = [
    path("", views.new, name="new"),
    path("list/", views.list_chats, name="list"),
    path("theme/", views.set_theme, name="theme"),
    path("draft/", views.save_draft, name="draft_new"),
    path("messages/<uuid:message_id>/footer/", views.show_footer, name="footer"),
    path("messages/<uuid:message_id>/stop/", views.stop, name="stop"),
    path("messages/<uuid:message_id>/retry/", views.retry, name="retry"),
    path("messages/<uuid:message_id>/edit/", views.edit, name="edit"),
    path("messages/<uuid:message_id>/continue/", views.continue_, name="continue"),
    path("messages/<uuid:message_id>/select/", views.select, name="select"),
    path("<uuid:conversation_id>/", views.detail, name="detail"),
    path("<uuid:conversation_id>/messages/", views.send, name="send"),
    path("<uuid:conversation_id>/draft/", views.save_draft, name="draft"),
    path("<uuid:conversation_id>/earlier/", views.list_earlier, name="earlier"),
    path("<uuid:conversation_id>/turns/<uuid:message_id>/", views.show_turn, name="turn"),
    path("<uuid:conversation_id>/rename/", views.rename, name="rename"),
    path("<uuid:conversation_id>/delete/", views.delete, name="delete"),
]
