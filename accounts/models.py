"""People: one `User` per e-mail address, with a role, and the one-time links that make the first administrator."""

from typing import Any, ClassVar

from django.contrib.auth.base_user import AbstractBaseUser, BaseUserManager
from django.contrib.auth.models import PermissionsMixin
from django.db import models
from django.db.models.functions import Lower
from django.utils import timezone


class Role(models.TextChoices):
    MEMBER = "member", "Member"
    OPERATOR = "operator", "Operator"
    ADMIN = "admin", "Administrator"


class UserManager(BaseUserManager["User"]):
    def create_user(self, email: str, password: str | None = None, **fields: Any) -> "User":
        user = self.model(email=self.normalize_email(email).lower(), **fields)
        user.is_superuser = user.role == Role.ADMIN
        user.set_password(password)
        user.save(using=self._db)
        return user

    def create_superuser(self, email: str, password: str | None = None, **fields: Any) -> "User":
        return self.create_user(email, password, **{**fields, "role": Role.ADMIN})

    def get_by_natural_key(self, username: str | None) -> "User":
        """By address in any case; uses the unique index on its lower case. Raises User.DoesNotExist."""
        return self.alias(lower_email=Lower("email")).get(lower_email=(username or "").lower())


class User(AbstractBaseUser, PermissionsMixin):
    """Signs in by e-mail. `role` decides everything; Django's `is_superuser` is tied to it by a constraint."""

    email = models.EmailField(max_length=254, unique=True)
    name = models.CharField(max_length=120, blank=True)
    role = models.CharField(max_length=16, choices=Role, default=Role.MEMBER)
    is_active = models.BooleanField(default=True, help_text="Off: the account cannot sign in and its sessions end.")
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    objects = UserManager()

    USERNAME_FIELD = "email"
    REQUIRED_FIELDS: ClassVar[list[str]] = []

    class Meta:
        constraints = [
            models.UniqueConstraint(
                Lower("email"), name="user_email_unique", violation_error_message="This address has an account."
            ),
            models.CheckConstraint(
                condition=models.Q(role=Role.ADMIN, is_superuser=True)
                | (~models.Q(role=Role.ADMIN) & models.Q(is_superuser=False)),
                name="user_admin_is_superuser",
            ),
        ]

    def __str__(self) -> str:
        return self.email

    @property
    def is_staff(self) -> bool:
        return self.role != Role.MEMBER

    @property
    def display_name(self) -> str:
        return self.name or self.email.partition("@")[0]

    @property
    def initials(self) -> str:
        words = self.display_name.replace(".", " ").split()
        return "".join(word[0] for word in words[:2]).upper() or "?"


class SetupLink(models.Model):
    """A one-time link that makes the first administrator. Only the SHA-256 of its token is kept."""

    token_hash = models.CharField(max_length=64, unique=True)
    created_at = models.DateTimeField(default=timezone.now)
    expires_at = models.DateTimeField()
    used_at = models.DateTimeField(null=True)

    def __str__(self) -> str:
        return f"set-up link of {self.created_at:%Y-%m-%d %H:%M}"
