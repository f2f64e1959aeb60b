from django.urls import path

from providers import api

app_name = "providers_api"

urlpatterns = [path("models", api.ModelsView.as_view(), name="models")]
