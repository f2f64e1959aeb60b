"""The models a program may ask for."""

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from providers import queries
from providers.models import ChatModel


class ModelsView(APIView):
    class Output(serializers.ModelSerializer[ChatModel]):
        """`provider` is its name. Exactly one model is the default, unless there is none at all."""

        provider = serializers.CharField(source="provider.name")
        is_default = serializers.SerializerMethodField()

        class Meta:
            model = ChatModel
            fields = ["id", "label", "description", "context_tokens", "is_demo", "is_default", "provider"]
            read_only_fields = fields
            extra_kwargs = {"label": {"source": "display_name"}}

        def get_is_default(self, model: ChatModel) -> bool:
            return bool(model == self.context["default"])

    @extend_schema(responses=Output(many=True))
    def get(self, request: Request) -> Response:
        models = queries.list_models()
        context = {"default": queries.choose_default(models)}
        return Response(self.Output(models, many=True, context=context).data)
