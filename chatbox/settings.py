"""Every setting of Chatbox, and the only place that reads the environment.

With neither `DATABASE_URL` nor `REDIS_URL` the embedded engines under `CHATBOX_HOME` are used (`manage.py up` runs them);
with them, the same code runs on a cluster. Any secret may also be given as a file by `NAME_FILE`.
"""

import hashlib
import os
import re
import tempfile
from datetime import timedelta
from pathlib import Path
from typing import Any

import django_stubs_ext
import environ

django_stubs_ext.monkeypatch()

BASE_DIR = Path(__file__).resolve().parent.parent
CHATBOX_HOME = Path(os.environ.get("CHATBOX_HOME") or BASE_DIR / "var").resolve()

environ.Env.read_env(CHATBOX_HOME / "secrets.env", overwrite=False)
env = environ.FileAwareEnv()


def _run_directory(home: Path) -> Path:
    """Where the engines' Unix sockets live; a socket's path may have at most 107 bytes, and URLs want no odd characters."""
    run = home / "run"
    if len(str(run)) <= 80 and re.fullmatch(r"[\w./-]+", str(run), re.ASCII):
        return run
    name = f"chatbox-{os.getuid()}-{hashlib.sha256(str(home).encode()).hexdigest()[:12]}"
    return Path(tempfile.gettempdir()) / name


RUN_DIR = _run_directory(CHATBOX_HOME)
METRICS_TOKEN = env("METRICS_TOKEN", default="")
PRODUCTION = env.bool("PRODUCTION", False)
DEBUG = False
PORT = env.int("PORT", 8000)
BIND = env("BIND", default="127.0.0.1")

# Secrets. An empty key is refused by Django where it is first used, and by `check` by name.
SECRET_KEY = env("SECRET_KEY", default="")
JWT_SECRET = env("JWT_SECRET", default="")
ENCRYPTION_KEYS: list[str] = env.list("ENCRYPTION_KEYS", default=[])
LOCAL_MODEL_KEY = env("LOCAL_MODEL_KEY", default="")

# Addresses
PUBLIC_URL = env("PUBLIC_URL", default="")
_LOOPBACK_HOSTS = ["localhost", "127.0.0.1", "[::1]"]
ALLOWED_HOSTS = env.list("ALLOWED_HOSTS", default=_LOOPBACK_HOSTS)
WEBSOCKET_ORIGINS: list[str] = env.list(
    "WEBSOCKET_ORIGINS", default=[PUBLIC_URL] if PUBLIC_URL else [f"http://{host}:{PORT}" for host in _LOOPBACK_HOSTS]
)
CSRF_TRUSTED_ORIGINS = [PUBLIC_URL] if PUBLIC_URL else []

INSTALLED_APPS = [
    "daphne",
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "django_prometheus",
    "django_htmx",
    "lucide",
    "channels",
    "csp",
    "rest_framework",
    "drf_spectacular",
    "ops",
    "providers",
    "accounts",
    "conversations",
]

MIDDLEWARE = [
    "django_prometheus.middleware.PrometheusBeforeMiddleware",
    "ops.middleware.RequestIdMiddleware",
    "django.middleware.security.SecurityMiddleware",
    "ops.middleware.SecurityHeadersMiddleware",
    "csp.middleware.CSPMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "django_htmx.middleware.HtmxMiddleware",
    "chatbox.errors.ErrorMiddleware",
    "django_prometheus.middleware.PrometheusAfterMiddleware",
]

ROOT_URLCONF = "chatbox.urls"
ASGI_APPLICATION = "chatbox.asgi.application"
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ]
        },
    }
]

# Database: the embedded PostgreSQL answers on a socket in RUN_DIR.
EMBEDDED_DATABASE = not env("DATABASE_URL", default="")
DATABASE_POOL = {
    "min_size": 0,
    "max_size": env.int("DB_POOL_MAX", 20),
    "max_idle": env.int("DB_POOL_IDLE_S", 30),
    "timeout": env.int("DB_POOL_TIMEOUT_S", 2),
    "reconnect_timeout": 1,  # no growing back-off: after an outage the next caller tries again
}
DATABASES: dict[str, dict[str, Any]] = {
    "default": {
        "NAME": "chatbox",
        "USER": "chatbox",
        "PASSWORD": env("POSTGRES_PASSWORD", default=""),
        "HOST": str(RUN_DIR),
    }
    if EMBEDDED_DATABASE
    else dict(env.db_url("DATABASE_URL"))
}
DATABASES["default"] |= {
    "ENGINE": "django_prometheus.db.backends.postgresql",
    "CONN_MAX_AGE": 0,
    "CONN_HEALTH_CHECKS": True,  # a restart of the database leaves dead connections in the pool
    "OPTIONS": DATABASES["default"].get("OPTIONS", {})
    | {
        "pool": DATABASE_POOL,
        # A page that waits longer than this is broken for the person in front of it.
        "options": "-c statement_timeout=20000 -c lock_timeout=5000 -c idle_in_transaction_session_timeout=30000",
    },
}
# Below the pool, which sockets and health checks use too.
REQUESTS_AT_ONCE = max(2, DATABASE_POOL["max_size"] * 6 // 10)
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

# Bus: broker, live text, channel layer. Never evicts. The cache may.
EMBEDDED_BUS = not env("REDIS_URL", default="")
REDIS_URL = env("REDIS_URL", default="") or f"unix://{RUN_DIR}/valkey.sock?db=0"
CACHE_URL = env("CACHE_URL", default="") or (f"unix://{RUN_DIR}/valkey.sock?db=1" if EMBEDDED_BUS else REDIS_URL)
CACHES = {
    "default": {
        "BACKEND": "django_redis.cache.RedisCache",
        "LOCATION": CACHE_URL,
        "KEY_PREFIX": "chatbox",
        "TIMEOUT": 300,
        "OPTIONS": {"SERIALIZER": "django_redis.serializers.json.JSONSerializer"},
    }
}
CHANNEL_LAYERS = {
    "default": {
        "BACKEND": "channels_redis.pubsub.RedisPubSubChannelLayer",
        "CONFIG": {"hosts": [REDIS_URL], "prefix": "chatbox:layer"},
    }
}

# Celery. Recovery is the lease of a reply, never the broker, which therefore keeps no list of what is unfinished.
CELERY_BROKER_URL = f"redis+socket://{RUN_DIR}/valkey.sock?virtual_host=0" if EMBEDDED_BUS else REDIS_URL
BROKER_KEY_PREFIX = "chatbox:"
CELERY_BROKER_TRANSPORT_OPTIONS = {
    "ack_emulation": False,
    "socket_keepalive": True,
    # A connection that is never answered again is dropped after one to two of these, 25 by default.
    "health_check_interval": 10,
    # A hung broker must not hold a page and its database connection; workers wait for tasks in polls of 1 s.
    "socket_timeout": 5,
    "socket_connect_timeout": 2,
    "global_keyprefix": BROKER_KEY_PREFIX,
}
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
CELERY_TASK_ACKS_LATE = True
CELERY_WORKER_PREFETCH_MULTIPLIER = 1
# Or a full worker that has lost the bus for a moment takes one task at a time afterwards, for as long as its replies last.
CELERY_WORKER_ENABLE_PREFETCH_COUNT_REDUCTION = False
CELERY_TASK_IGNORE_RESULT = True
CELERY_TASK_SERIALIZER = "json"
CELERY_ACCEPT_CONTENT = ["json"]
CELERY_WORKER_HIJACK_ROOT_LOGGER = False
CELERY_TASK_DEFAULT_QUEUE = "default"
CELERY_TASK_ROUTES = {"conversations.tasks.generate_reply": {"queue": "replies"}, "ops.tasks.*": {"queue": "ops"}}
CELERY_BEAT_SCHEDULE = {
    "conversations.end_dead_replies": {
        "task": "conversations.tasks.end_dead_replies",
        "schedule": 5.0,
        "options": {"expires": 5},
    },
    "conversations.requeue_lost_replies": {
        "task": "conversations.tasks.requeue_lost_replies",
        "schedule": 10.0,
        "options": {"expires": 10},
    },
    "conversations.forget_old_keys": {
        "task": "conversations.tasks.forget_old_keys",
        "schedule": 3600.0,
        "options": {"expires": 3600},
    },
}
REPLY_CONCURRENCY = env.int("REPLY_CONCURRENCY", 256)

# Replies
REPLIES_AT_ONCE = env.int("REPLIES_AT_ONCE", 16)  # of one person, queued ones included
REPLY_LEASE_S = 20
REPLY_FLUSH_MS = 35
REPLY_CHECKPOINT_S = 1.0
REPLY_MAX_CHARACTERS = 400_000  # about 100,000 tokens; a provider that never ends is ended
REPLY_TIMEOUT_S = env.int("REPLY_TIMEOUT_S", 300)
REPLY_IDLE_TIMEOUT_S = env.int("REPLY_IDLE_TIMEOUT_S", 30)
REPLY_FIRST_TOKEN_TIMEOUT_S = env.int("REPLY_FIRST_TOKEN_TIMEOUT_S", 120)
MESSAGE_MAX_CHARACTERS = 64_000
QUEUE_WHILE_RUNNING = True  # who asks for it may send while a reply is written; False: such a message is refused
EMBEDDED_MODEL = env.bool("EMBEDDED_MODEL", True)

# Accounts
AUTH_USER_MODEL = "accounts.User"
LOGIN_URL = "/accounts/login/"
LOGIN_REDIRECT_URL = "/chat/"
LOGOUT_REDIRECT_URL = "/accounts/login/"
PASSWORD_HASHERS = [
    "accounts.hashers.SmallArgon2PasswordHasher",
    "django.contrib.auth.hashers.PBKDF2PasswordHasher",
]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator"},
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator", "OPTIONS": {"min_length": 8}},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
    {"NAME": "django.contrib.auth.password_validation.NumericPasswordValidator"},
]
FIRST_ADMIN_EMAIL = env("DJANGO_SUPERUSER_EMAIL", default="")
FIRST_ADMIN_PASSWORD = env("DJANGO_SUPERUSER_PASSWORD", default="")
SESSION_ENGINE = "accounts.sessions"
SESSION_COOKIE_AGE = 60 * 60 * 24 * 14
SESSION_COOKIE_HTTPONLY = True
SESSION_COOKIE_SAMESITE = "Lax"
SESSION_SERIALIZER = "django.contrib.sessions.serializers.JSONSerializer"
CSRF_FAILURE_VIEW = "chatbox.errors.csrf_failure"
MESSAGE_STORAGE = "django.contrib.messages.storage.session.SessionStorage"

# API
REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": ["accounts.tokens.TokenAuthentication"],
    "DEFAULT_PERMISSION_CLASSES": ["rest_framework.permissions.IsAuthenticated"],
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "DEFAULT_PARSER_CLASSES": ["ops.parsers.JSONParser"],
    "DEFAULT_SCHEMA_CLASS": "drf_spectacular.openapi.AutoSchema",
    "EXCEPTION_HANDLER": "chatbox.errors.api_exception_handler",
    "UNAUTHENTICATED_USER": None,
    "NUM_PROXIES": env.int("NUM_PROXIES", 0),
}
SIMPLE_JWT = {
    "ALGORITHM": "HS256",
    "SIGNING_KEY": JWT_SECRET,
    "ACCESS_TOKEN_LIFETIME": timedelta(hours=1),
    "REFRESH_TOKEN_LIFETIME": timedelta(days=14),
    "ROTATE_REFRESH_TOKENS": True,
    "UPDATE_LAST_LOGIN": True,
    "CHECK_REVOKE_TOKEN": True,
    "AUTH_HEADER_TYPES": ("Bearer",),
}
SPECTACULAR_SETTINGS = {
    "TITLE": "Chatbox",
    "VERSION": "1",
    "SERVE_INCLUDE_SCHEMA": False,
    "ENUM_NAME_OVERRIDES": {"AuthorEnum": "conversations.models.Author", "RoleEnum": "accounts.models.Role"},
    "SERVE_PERMISSIONS": ["rest_framework.permissions.IsAuthenticated"],
}

# Files
STATIC_URL = "/static/"
STATIC_ROOT = CHATBOX_HOME / "static"
STATICFILES_DIRS = [BASE_DIR / "static"]
MEDIA_ROOT = CHATBOX_HOME / "media"
WHITENOISE_ALLOW_ALL_ORIGINS = False
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {"BACKEND": "ops.staticfiles.StaticFilesStorage"},
}
DATA_UPLOAD_MAX_MEMORY_SIZE = 1024 * 1024
DATA_UPLOAD_MAX_NUMBER_FIELDS = 1000

# Security headers (see ops.middleware for those Django does not set)
CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": ["'none'"],
        "script-src": ["'self'"],
        "style-src": ["'self'"],
        "img-src": ["'self'", "blob:", "data:"],
        "font-src": ["'self'"],
        "connect-src": ["'self'"],
        "form-action": ["'self'"],
        "base-uri": ["'none'"],
        "frame-ancestors": ["'none'"],
        "object-src": ["'none'"],
        "manifest-src": ["'self'"],
    }
}
X_FRAME_OPTIONS = "DENY"
SECURE_REFERRER_POLICY = "same-origin"
if PRODUCTION:
    SECURE_SSL_REDIRECT = True
    SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
    SECURE_REDIRECT_EXEMPT = [r"^livez$", r"^readyz$", r"^metrics$"]
    SECURE_HSTS_SECONDS = 63_072_000
    SECURE_HSTS_INCLUDE_SUBDOMAINS = True
    SECURE_HSTS_PRELOAD = True
    SESSION_COOKIE_SECURE = True
    SESSION_COOKIE_NAME = "__Host-session"
    CSRF_COOKIE_SECURE = True
    CSRF_COOKIE_NAME = "__Host-csrf"

# Language and time
LANGUAGE_CODE = "en"
TIME_ZONE = "UTC"
USE_I18N = True
USE_TZ = True

# Logs: one line an event, to standard error; the supervisor or the container keeps them.
LOG_LEVEL = env("LOG_LEVEL", default="INFO")
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"line": {"()": "ops.logs.LineFormatter"}},
    "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "line"}},
    "root": {"handlers": ["stderr"], "level": LOG_LEVEL},
    "loggers": {
        "daphne": {"level": "WARNING"},
        "django.server": {"level": "WARNING"},
        "aiohttp": {"level": "WARNING"},
        # Two lines for each task; what a task did it says itself.
        "celery.app.trace": {"level": "WARNING"},
        "celery.worker.strategy": {"level": "WARNING"},
    },
}
PROMETHEUS_EXPORT_MIGRATIONS = False
SILENCED_SYSTEM_CHECKS: list[str] = []
