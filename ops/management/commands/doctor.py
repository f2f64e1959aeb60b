from typing import Any

from django.core.management.base import BaseCommand, CommandError

from ops import doctor


class Command(BaseCommand):
    help = "Check the invariants of the live data. Changes nothing; exits non-zero when one is broken."

    def handle(self, *_args: Any, **_options: Any) -> None:
        broken = sum(self._report(verdict) for verdict in doctor.examine())
        if broken:
            raise CommandError(f"{broken} of the invariants are broken.")

    def _report(self, verdict: doctor.Verdict) -> bool:
        mark = self.style.ERROR("BROKEN") if verdict.findings else self.style.SUCCESS("OK")
        self.stdout.write(f"{verdict.code}  {verdict.title}: {mark}")
        for finding in verdict.findings:
            self.stdout.write(f"      {finding}")
        return bool(verdict.findings)
