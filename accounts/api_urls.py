from django.urls import path

from accounts import api

app_name = "accounts_api"

urlpatterns = [
    path("auth/token", api.TokenView.as_view(), name="token"),
    path("auth/token/refresh", api.RefreshView.as_view(), name="refresh"),
    path("me", api.MeView.as_view(), name="me"),
]
