"""Signing in and out, one's own password in the back office, and the one-time page of the first administrator."""

from typing import Any

from django.contrib import admin
from django.contrib.admin.forms import AdminPasswordChangeForm
from django.contrib.auth import login
from django.contrib.auth import views as auth
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse_lazy
from django.views.decorators.cache import never_cache
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_http_methods

from accounts import queries, services, sockets
from accounts.errors import EmailTaken, SetupLinkInvalid
from accounts.forms import LoginForm, SetupForm

GONE = 410
SIGN_IN_BACKEND = "django.contrib.auth.backends.ModelBackend"


class LoginView(auth.LoginView):
    template_name = "accounts/login.html"
    authentication_form = LoginForm
    redirect_authenticated_user = True

    def get_redirect_url(self) -> str:  # type: ignore[override]  # the stubs are of a newer Django
        """Django has checked that `next` stays on our origin; only a path of ours that is not this page is taken."""
        url = super().get_redirect_url()
        is_here = url.partition("?")[0] == self.request.path
        return url if url.startswith("/") and not is_here else ""


class LogoutView(auth.LogoutView):
    """POST only. The sockets of this session close too, those of the person's other devices stay."""

    http_method_names = ["post", "options"]

    def post(self, request: HttpRequest, *args: object, **kwargs: object) -> HttpResponse:
        user_id, session_key = request.user.pk, request.session.session_key
        response = super().post(request, *args, **kwargs)
        if user_id is not None:
            sockets.close_for(user_id, session_key=session_key)
        return response


class PasswordChangeView(auth.PasswordChangeView):
    """The back office's page for one's own password. Django ends the other sessions with it, we all sockets."""

    form_class = AdminPasswordChangeForm
    success_url = reverse_lazy("admin:password_change_done")

    def get_context_data(self, **context: Any) -> dict[str, Any]:
        return super().get_context_data(**context) | admin.site.each_context(self.request)

    def form_valid(self, form: Any) -> HttpResponse:
        response = super().form_valid(form)
        services.end_sockets(user=form.user)
        return response


@never_cache
@sensitive_post_parameters("password")
@require_http_methods(["GET", "HEAD", "POST"])
def set_up(request: HttpRequest, token: str) -> HttpResponse:
    """The page behind the one-time link."""
    if not queries.is_setup_link_open(token=token):
        return render(request, "accounts/setup_invalid.html", status=GONE)
    form = SetupForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        return _create_first_admin(request, token, form)
    return render(request, "accounts/setup.html", {"form": form})


def _create_first_admin(request: HttpRequest, token: str, form: SetupForm) -> HttpResponse:
    try:
        user = services.accept_setup_link(token=token, **form.cleaned_data)
    except SetupLinkInvalid:
        return render(request, "accounts/setup_invalid.html", status=GONE)
    except EmailTaken as error:
        form.add_error("email", error.message)
        return render(request, "accounts/setup.html", {"form": form})
    login(request, user, backend=SIGN_IN_BACKEND)
    return redirect("/chat/")
