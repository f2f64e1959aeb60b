"""Every address of the product."""

from django.contrib import admin
from django.urls import include, path
from django.views.generic import RedirectView
from drf_spectacular.views import SpectacularAPIView

from accounts.views import LogoutView, PasswordChangeView

urlpatterns = [
    path("", RedirectView.as_view(pattern_name="conversations:new")),
    path("", include("ops.urls")),
    path("accounts/", include("accounts.urls")),
    # One sign-in door for everybody; the back office has none of its own.
    path("admin/login/", RedirectView.as_view(pattern_name="accounts:login", query_string=True)),
    # Django's own would leave the person's sockets open.
    path("admin/logout/", LogoutView.as_view()),
    path("admin/password_change/", admin.site.admin_view(PasswordChangeView.as_view())),
    path("admin/", admin.site.urls),
    path("api/v1/", include("accounts.api_urls")),
    path("api/v1/", include("providers.api_urls")),
    path("api/v1/", include("conversations.api_urls")),
    path("api/v1/schema", SpectacularAPIView.as_view(), name="schema"),
    path("chat/", include("conversations.urls")),
]

handler400 = "chatbox.errors.bad_request"
handler403 = "chatbox.errors.permission_denied"
handler404 = "chatbox.errors.page_not_found"
handler500 = "chatbox.errors.server_error"
