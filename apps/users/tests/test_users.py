"""Who may order, and where mail reaches them: the rules."""

import pytest
from pydantic import ValidationError

from chassis.problems import NotFound
from contracts.users import UserDeactivated, UserRegistered
from support.given import given
from users.domain import ContactGiven, DeactivateUser, RegisterUser, Status, contact, rules, user
from users.people import people

ADA = "Ada Paddlewright", "ada@example.org"
REGISTER = RegisterUser(user_id="u-1", name=ADA[0], email=ADA[1])
REGISTERED = UserRegistered(user_id="u-1")
GIVEN = ContactGiven(user_id="u-1", name=ADA[0], email=ADA[1])
DEACTIVATE = DeactivateUser(user_id="u-1")
DEACTIVATED = UserDeactivated(user_id="u-1")


def test_who_registers_may_order_and_is_reached_by_mail() -> None:
    outcome = given(rules).when(REGISTER).then(REGISTERED, GIVEN)
    outcome.and_state(user("u-1"), status=Status.ACTIVE).and_state(contact("u-1"), name=ADA[0], email=ADA[1])


def test_who_is_registered_stays_as_they_are() -> None:
    other = REGISTER.model_copy(update={"name": "Somebody Else"})
    given(rules, REGISTERED, GIVEN).when(other).then_nothing()


def test_who_is_deactivated_orders_nothing_more_and_keeps_their_address() -> None:
    outcome = given(rules, REGISTERED, GIVEN).when(DEACTIVATE).then(DEACTIVATED)
    outcome.and_state(user("u-1"), status=Status.INACTIVE).and_state(contact("u-1"), email=ADA[1])


def test_registering_again_does_not_wake_who_was_deactivated() -> None:
    given(rules, REGISTERED, GIVEN, DEACTIVATED).when(REGISTER).then_nothing()


def test_deactivating_twice_is_deactivating_once() -> None:
    given(rules, REGISTERED, GIVEN, DEACTIVATED).when(DEACTIVATE).then_nothing()


def test_nobody_unknown_is_deactivated() -> None:
    given(rules).when(DEACTIVATE).then_refused(NotFound, field="userId")


def test_what_is_told_to_others_has_no_personal_data() -> None:
    told = [event for event in given(rules).when(REGISTER).facts if event.published]
    assert {name for event in told for name in event.model_dump()} == {"user_id", "at"}


@pytest.mark.parametrize("kind", [RegisterUser, ContactGiven])
def test_an_error_does_not_quote_the_address(kind: type[RegisterUser | ContactGiven]) -> None:
    with pytest.raises(ValidationError) as refused:
        kind(user_id="u-1", name="Ada", email="no-address-of-ada")
    assert "no-address" not in str(refused.value)


def test_there_are_twenty_people_and_none_is_real() -> None:
    assert [person.user_id for person in people()] == [f"user-{number}" for number in range(1, 21)]
    assert {person.email.partition("@")[2] for person in people()} <= {"example.org", "example.com"}
    assert len({person.email for person in people()}) == len({person.name for person in people()}) == 20
