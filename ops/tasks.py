"""Celery's doors of this floor."""

from celery import shared_task

from ops import canary


@shared_task
def answer_canary() -> None:
    canary.perch.answer()
