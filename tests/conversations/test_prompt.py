"""What of a history a model gets."""

from conversations.models import Author, Message
from conversations.prompt import CONTINUE, build_turns, estimate_tokens
from providers.types import Turn


def say(*texts: str) -> list[Message]:
    """User and assistant in turn, the user first."""
    roles = (Author.USER, Author.ASSISTANT)
    return [Message(role=roles[number % 2], text=text) for number, text in enumerate(texts)]


def test_everything_that_fits_goes_in_order() -> None:
    turns = build_turns(say("One", "Two", "Three"), system_prompt="Be kind.", budget_tokens=1000)
    assert turns == (Turn("system", "Be kind."), Turn("user", "One"), Turn("assistant", "Two"), Turn("user", "Three"))


def test_oldest_turns_are_left_out_first_and_no_answer_leads() -> None:
    history = say("a" * 400, "b" * 400, "c" * 400)
    budget = 2 * estimate_tokens("b" * 400) + 1
    assert build_turns(history, system_prompt="", budget_tokens=budget) == (Turn("user", "c" * 400),)


def test_question_larger_than_the_window_keeps_its_end() -> None:
    turns = build_turns(say("x" * 5000 + "the end"), system_prompt="", budget_tokens=100)
    assert len(turns) == 1
    assert turns[0].text.endswith("the end")
    assert estimate_tokens(turns[0].text) <= 100


def test_cut_never_splits_a_character() -> None:
    for budget in range(20, 40):
        turns = build_turns(say("🔒" * 500), system_prompt="", budget_tokens=budget)
        assert set(turns[0].text) == {"🔒"}


def test_empty_answers_vanish_and_questions_join() -> None:
    turns = build_turns(say("One", "", "Two"), system_prompt="", budget_tokens=1000)
    assert turns == (Turn("user", "One\n\nTwo"),)


def test_continued_answer_is_followed_by_the_request() -> None:
    turns = build_turns(say("Tell"), system_prompt="", budget_tokens=1000, continued="Once upon")
    assert turns == (Turn("user", "Tell"), Turn("assistant", "Once upon"), Turn("user", CONTINUE))
