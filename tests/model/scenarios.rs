//! Who meets whom.

use std::sync::Arc;
use std::time::Duration;

use crate::error::TokenError;
use crate::gate::core::{Arrival, Step};
use crate::gate::decide::Want;
use crate::threads::{Model, arrival, fails, fresh, is_generation, login, outcome, renews, stale, tokens};
use crate::token::Generation;

const FIRST: Generation = Generation::FIRST;
const MOMENT: Duration = Duration::from_secs(1);

fn session_ended() -> TokenError {
    TokenError::SessionEnded { reason: "refused".into(), interrupted: None }
}

fn away() -> TokenError {
    TokenError::Unavailable { cause: Arc::new(std::io::Error::other("away")), retry_after: None }
}

#[test]
fn three_with_a_stale_token_share_one_flight() {
    Model::check("three with a stale token", |model| {
        let want = |model: &Model| model.obtain(Want::Live, stale(), renews(stale()));
        let others = [model.thread(want), model.thread(want)];
        assert!(is_generation(&want(model), 2));
        for other in others {
            assert!(is_generation(&other.join().unwrap(), 2));
        }
        assert_eq!(model.flights(), 1);
    });
}

#[test]
fn a_straggler_meets_the_landing_and_gets_what_landed() {
    Model::check("a straggler and the landing", |model| {
        let takeoff = model.take_off(Want::Live, stale());
        let stragglers =
            [(); 2].map(|()| model.thread(|model| model.obtain_without_flight(Want::AfterRefusal(FIRST), stale())));
        model.land(takeoff, arrival(Ok(tokens(2, stale()))));
        for straggler in stragglers {
            assert!(is_generation(&straggler.join().unwrap(), 2));
        }
    });
}

#[test]
fn who_is_refused_twice_gets_a_newer_token_twice() {
    Model::check("refusals of two generations", |model| {
        // Both are refused with generation 1 and, if the clock says that 2 is dead as well, with 2.
        let refused_twice = |model: &Model| {
            let dead = stale() + (stale().duration_since(fresh()));
            let second = model.obtain(Want::AfterRefusal(FIRST), stale(), renews(stale())).unwrap();
            model.obtain(Want::AfterRefusal(second.generation), dead, renews(dead)).unwrap()
        };
        let other = model.thread(refused_twice);
        // Each was refused with what it got last, so the two may be up to one generation apart.
        let last = [refused_twice(model), other.join().unwrap()].map(|tokens| tokens.generation.number());
        assert!(last.iter().all(|number| (3..=4).contains(number)), "{last:?}");
        assert_eq!(model.flights() as u64, model.core.current().generation.number() - 1);
    });
}

#[test]
fn the_fast_path_never_goes_back_while_flights_land() {
    Model::check("the fast path and two landings", |model| {
        let reader = model.thread(|model| {
            let mut last = model.core.current().generation;
            for _ in 0..2 {
                let seen = model.core.current();
                assert!(seen.generation >= last && seen.session == tokens(1, fresh()).session);
                last = seen.generation;
            }
        });
        let asker = model.thread(|model| model.obtain(Want::Newer(FIRST), fresh(), renews(fresh())).unwrap());
        let second = model.obtain(Want::Newer(FIRST), fresh(), renews(fresh())).unwrap().generation;
        let third = model.obtain(Want::Newer(second), fresh(), renews(fresh())).unwrap().generation;
        assert!((second..=third).contains(&asker.join().unwrap().generation));
        assert!(model.core.current().generation >= third);
        reader.join().unwrap();
    });
}

#[test]
fn a_landing_with_older_tokens_or_another_session_moves_nothing() {
    for foreign in [false, true] {
        Model::check("a landing with what is not newer", move |model| {
            let takeoff = model.take_off(Want::Newer(FIRST), fresh());
            model.land(takeoff, arrival(Ok(tokens(2, fresh()))));
            let second = FIRST.next();
            let takeoff = model.take_off(Want::Newer(second), fresh());
            let reader = model.thread(move |model| {
                let seen = model.core.current();
                assert!(seen.is_same_save(&tokens(2, fresh())), "the snapshot moved to {}", seen.generation);
            });
            let brought = if foreign { login(second.next()) } else { tokens(1, fresh()) };
            model.land(takeoff, arrival(Ok(brought)));
            reader.join().unwrap();
            assert!(model.core.current().is_same_save(&tokens(2, fresh())));
        });
    }
}

#[test]
fn a_flight_that_vanishes_fails_for_all_who_wait_and_the_next_one_flies() {
    Model::check("a flight that vanishes", |model| {
        let takeoff = model.take_off(Want::Live, stale());
        let waiting = takeoff.landing();
        let waiter = model.thread(|model| {
            assert!(matches!(*outcome(waiting).unwrap_err(), TokenError::FlightLost));
            // Who has heard of it and asks again does not hear the same once more.
            model.obtain(Want::Live, stale(), renews(stale()))
        });
        let asker = model.thread(|model| model.obtain(Want::Live, stale(), renews(stale())));
        model.crash(takeoff);
        assert!(is_generation(&waiter.join().unwrap(), 2));
        match asker.join().unwrap() {
            // It came before the crash, and waited for the flight that vanished.
            Err(error) => assert!(matches!(*error, TokenError::FlightLost)),
            Ok(tokens) => assert_eq!(tokens.generation, FIRST.next()),
        }
        assert_eq!(model.flights(), 2);
    });
}

#[test]
fn nobody_waits_who_is_served_by_what_is_current() {
    Model::check("a live token and a flight", |model| {
        let takeoff = model.take_off(Want::Newer(FIRST), fresh());
        let content = model.thread(|model| model.obtain_without_flight(Want::Live, fresh()));
        assert!(matches!(model.core.ask(Want::Live, fresh()), Step::Use(tokens) if tokens.generation == FIRST));
        model.land(takeoff, arrival(Ok(tokens(2, fresh()))));
        content.join().unwrap().unwrap();
    });
}

#[test]
fn a_failure_answers_for_all_who_ask_while_it_is_remembered() {
    Model::check("a remembered failure", |model| {
        let takeoff = model.take_off(Want::Live, stale());
        let asker = model.thread(|model| model.obtain_without_flight(Want::Live, stale()).unwrap_err());
        let refused = model
            .thread(|model| model.obtain_without_flight(Want::AfterRefusal(FIRST), stale() + MOMENT / 2).unwrap_err());
        let failure = Arrival { remember: Some(stale()..stale() + MOMENT), ..arrival(Err(away())) };
        model.land(takeoff, failure);
        let errors = [asker.join().unwrap(), refused.join().unwrap()];
        assert!(errors.iter().all(|error| Arc::ptr_eq(error, &errors[0])), "all get the same");
        assert_eq!(model.flights(), 1);
    });
}

#[test]
fn a_failure_is_forgotten_in_time_and_with_the_next_success() {
    Model::check("a failure in the past", |model| {
        let takeoff = model.take_off(Want::Live, stale());
        let later = model.thread(|model| model.obtain(Want::Live, stale() + MOMENT, renews(stale() + MOMENT)));
        let failure = Arrival { remember: Some(stale()..stale() + MOMENT), ..arrival(Err(away())) };
        model.land(takeoff, failure);
        let again = model.obtain(Want::Live, stale() + MOMENT, renews(stale() + MOMENT));
        assert!(is_generation(&again, 2));
        // It either waited for the flight that failed, or came after it.
        let later = later.join().unwrap();
        assert!(is_generation(&later, 2) || matches!(*later.unwrap_err(), TokenError::Unavailable { .. }));
        assert_eq!(model.flights(), 2);
    });
}

#[test]
fn a_failure_speaks_for_no_later_generation() {
    Model::check("a failure and a clock set back", |model| {
        let takeoff = model.take_off(Want::Newer(FIRST), stale());
        let failure = Arrival { remember: Some(stale()..stale() + MOMENT), ..arrival(Err(away())) };
        model.land(takeoff, failure);
        let after = stale() + MOMENT;
        let other = model.thread(move |model| model.obtain(Want::Newer(FIRST), after, renews(fresh())));
        let second = model.obtain(Want::Newer(FIRST), after, renews(fresh())).unwrap().generation;
        // Now it is the time again that the failure speaks for.
        let third = model.obtain(Want::Newer(second), stale(), renews(stale()));
        assert!(third.is_ok_and(|third| third.generation > second));
        other.join().unwrap().unwrap();
    });
}

#[test]
fn nobody_gets_a_token_of_a_session_that_ended() {
    for ended in [|| session_ended(), || TokenError::AccountChanged, || TokenError::NotLoggedIn] {
        Model::check("a session that ends", move |model| {
            let takeoff = model.take_off(Want::Live, stale());
            let wants = [Want::Live, Want::AfterRefusal(FIRST)];
            let askers =
                wants.map(|want| model.thread(move |model| model.obtain_without_flight(want, stale()).unwrap_err()));
            model.land(takeoff, arrival(Err(ended())));
            let errors = askers.map(|asker| asker.join().unwrap());
            assert!(Arc::ptr_eq(&errors[0], &errors[1]));
            // For good: also for those whom a token that the clock calls fresh would do.
            for want in [Want::Live, Want::Newer(FIRST), Want::ValidFor(MOMENT)] {
                assert!(Arc::ptr_eq(&model.obtain_without_flight(want, fresh()).unwrap_err(), &errors[0]));
            }
            assert!(model.core.current().is_same_save(&tokens(1, fresh())));
        });
    }
}

#[test]
fn a_session_ends_once_and_stays_ended_whoever_lands_last() {
    Model::check("an end and those who would fly", |model| {
        let refused = |model: &Model| model.obtain(Want::AfterRefusal(FIRST), fresh(), fails(session_ended()));
        let others = [model.thread(refused), model.thread(refused)];
        let first = refused(model).unwrap_err();
        for other in others {
            assert!(Arc::ptr_eq(&other.join().unwrap().unwrap_err(), &first));
        }
        assert_eq!(model.flights(), 1, "one is refused for all");
    });
}

#[test]
fn waiters_that_go_away_change_nothing() {
    Model::check("waiters that go away", |model| {
        let takeoff = model.take_off(Want::Live, stale());
        drop(takeoff.landing());
        let gone = model.thread(|model| {
            if let Step::Wait(landing) = model.core.ask(Want::Live, stale()) {
                drop(landing);
            }
        });
        let waiter = model.thread(|model| model.obtain_without_flight(Want::Live, stale()));
        model.land(takeoff, arrival(Ok(tokens(2, stale()))));
        assert!(is_generation(&waiter.join().unwrap(), 2));
        gone.join().unwrap();
    });
}

#[test]
fn a_refused_fresh_token_costs_one_flight_and_then_the_refusal_stands() {
    Model::check("refusals of fresh tokens", |model| {
        let refused_twice = |model: &Model| {
            let second = model.obtain(Want::AfterRefusal(FIRST), fresh(), |replaced| Arrival {
                refused_at: Some(fresh()),
                ..renews(fresh())(replaced)
            });
            assert!(is_generation(&second, 2));
            model.obtain_without_flight(Want::AfterRefusal(FIRST.next()), fresh() + MOMENT).unwrap_err()
        };
        let other = model.thread(refused_twice);
        for error in [refused_twice(model), other.join().unwrap()] {
            assert!(matches!(*error, TokenError::RefusalStands), "{error}");
        }
        assert_eq!(model.flights(), 1);
    });
}

#[test]
fn a_landing_that_knows_of_no_refusal_forgets_none() {
    Model::check("a refusal and a refresh that was asked for", |model| {
        let takeoff = model.take_off(Want::AfterRefusal(FIRST), fresh());
        model.land(takeoff, Arrival { refused_at: Some(fresh()), ..arrival(Ok(tokens(2, fresh()))) });
        let second = FIRST.next();
        let asked = model.thread(move |model| model.obtain(Want::Newer(second), fresh(), renews(fresh())).unwrap());
        // Nobody refreshes for this refusal; but the refresh that was asked for answers it, if that came first.
        match model.obtain_without_flight(Want::AfterRefusal(second), fresh() + MOMENT) {
            Ok(tokens) => assert_eq!(tokens.generation, second.next()),
            Err(error) => assert!(matches!(*error, TokenError::RefusalStands), "{error}"),
        }
        asked.join().unwrap();
        let last = model.obtain_without_flight(Want::AfterRefusal(second.next()), fresh() + MOMENT);
        assert!(matches!(*last.unwrap_err(), TokenError::RefusalStands));
    });
}

#[test]
fn the_way_out_waits_for_every_flight() {
    Model::check("the way out", |model| {
        let askers = [(); 2].map(|()| model.thread(|model| model.obtain(Want::Live, stale(), renews(stale()))));
        model.close();
        let generation = model.core.current().generation;
        for asker in askers {
            match asker.join().unwrap() {
                Ok(tokens) => assert_eq!(tokens.generation, FIRST.next()),
                Err(error) => assert!(matches!(*error, TokenError::Closing), "{error}"),
            }
        }
        assert_eq!(model.core.current().generation, generation, "nothing has changed since");
    });
}
