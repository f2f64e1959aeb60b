"""What a user or a client of conversations may see.

ConversationError
├── ConversationNotFound
├── MessageNotFound
├── ReplyRunning       one reply at a time in a conversation
├── ReplyFinished      too late to stop
├── TextInvalid        empty or too long
├── TooManyReplies     of one person at a time
├── ReplyBroke         a fault of ours
├── DatabaseAway       before a reply could begin
└── KeyReused          an Idempotency-Key with another request
"""

from ops.errors import ChatboxError


class ConversationError(ChatboxError):
    code = "conversation_error"


class ConversationNotFound(ConversationError):
    code = "not_found"
    message = "There is nothing here."


class MessageNotFound(ConversationError):
    code = "not_found"
    message = "There is nothing here."


class ReplyRunning(ConversationError):
    code = "reply_running"
    message = "A reply is still being written. Wait for it or stop it first."
    retryable = True


class ReplyFinished(ConversationError):
    code = "reply_finished"
    message = "This reply has already ended."


class ReplyComplete(ReplyFinished):
    code = "reply_complete"
    message = "There is nothing to continue in this reply."


class TextInvalid(ConversationError):
    code = "text_invalid"
    message = "Write a message first."


class TooManyReplies(ConversationError):
    code = "too_many_replies"
    message = "Many of your replies are still being written. Wait for one or stop it first."
    retryable = True


class TooManyModels(ConversationError):
    code = "too_many_models"
    message = "That is more models than can be asked at once."


class ReplyBroke(ConversationError):
    code = "reply_broke"
    message = "Something went wrong while this answer was written."
    retryable = True


class DatabaseAway(ConversationError):
    code = "database_away"
    message = "Chatbox was restarting. Try again."
    retryable = True


class KeyReused(ConversationError):
    code = "idempotency_key_reused"
    message = "This Idempotency-Key was used for another request."
