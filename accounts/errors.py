"""What can go wrong with accounts.

AccountError
├── SetupLinkInvalid     used, expired, replaced, or an administrator exists
├── EmailTaken
└── LastAdministrator    somebody must be able to administer
"""

from ops.errors import ChatboxError


class AccountError(ChatboxError):
    code = "account_error"


class SetupLinkInvalid(AccountError):
    code = "setup_link_invalid"
    message = "This set-up link is no longer valid. Restart Chatbox to get a new one."


class EmailTaken(AccountError):
    code = "email_taken"
    message = "This address has an account."


class LastAdministrator(AccountError):
    code = "last_administrator"
    message = "This is the last active administrator. Make another one first."
