"""How passwords are hashed."""

from django.contrib.auth.hashers import Argon2PasswordHasher


class SmallArgon2PasswordHasher(Argon2PasswordHasher):
    """Argon2id with 19 MiB a hash, because people who are not signed in decide how many hashes run at once.

    Django's own 100 MiB × 8 threads let a few dozen parallel sign-ins take a server's memory. These are the figures of
    https://cheatsheetseries.owasp.org/cheatsheets/Password_Storage_Cheat_Sheet.html. Hashes of other figures stay valid
    and are replaced when their owner signs in.
    """

    time_cost = 2
    memory_cost = 19_456  # KiB
    parallelism = 1
