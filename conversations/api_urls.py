from django.urls import path

from conversations import api

urlpatterns = [
    path("conversations", api.ConversationsView.as_view()),
    path("conversations/<uuid:conversation_id>", api.ConversationView.as_view()),
    path("conversations/<uuid:conversation_id>/messages", api.MessagesView.as_view()),
    path("messages/<uuid:message_id>", api.MessageView.as_view()),
    path("messages/<uuid:message_id>/stop", api.StopView.as_view()),
    path("messages/<uuid:message_id>/regenerate", api.RegenerateView.as_view()),
    path("messages/<uuid:message_id>/continue", api.ContinueView.as_view()),
    path("messages/<uuid:message_id>/select", api.SelectView.as_view()),
    path("messages/<uuid:message_id>/edit", api.EditView.as_view()),
    path("messages/<uuid:message_id>/events", api.EventsView.as_view()),
]
