//! What a flight brings back: tokens, a failure, or tokens that could not be saved and the lock that stays held for them.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use jiff::Timestamp;
use tokio::time::Instant;
use tracing::debug;

use super::Ports;
use super::core::{Arrival, Outcome};
use super::ports::Held;
use super::stamp::Stamp;
use crate::error::{StoreError, TokenError};
use crate::token::{Generation, TokenSet};

/// How many past flights are remembered: a program may run for months.
const REMEMBERED: usize = 1024;

/// What a flight brought back.
pub(super) struct Flown {
    pub(super) arrival: Arrival,
    /// Whether this flight renewed the tokens or took over another process's.
    pub(super) source: Option<Source>,
    /// Tokens that could not be saved, with the lock that stays held until they are.
    pub(super) unsaved: Option<Unsaved>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Source {
    Renewed,
    Adopted,
}

/// A past flight that brought newer tokens.
#[derive(Clone, Copy, Debug)]
pub struct Flight {
    /// When it took off.
    pub start: Instant,
    /// When it had landed.
    pub end: Instant,
    /// The tokens that it brought.
    pub generation: Generation,
    /// Whether another process had got them.
    pub adopted: bool,
}

/// The last flights that brought newer tokens.
#[derive(Default)]
pub(super) struct Flights(Mutex<VecDeque<Flight>>);

impl Flights {
    pub(super) fn note(&self, flown: &Flown, start: Instant) {
        let (Some(source), Ok(tokens)) = (flown.source, &flown.arrival.outcome) else { return };
        let adopted = source == Source::Adopted;
        let flight = Flight { start, end: Instant::now(), generation: tokens.generation, adopted };
        let mut flights = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if flights.len() == REMEMBERED {
            flights.pop_front();
        }
        flights.push_back(flight);
    }

    pub(super) fn all(&self) -> Vec<Flight> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).iter().copied().collect()
    }
}

/// New tokens that the store did not take. They are the only good ones left, so the lock is not let go.
pub(super) struct Unsaved {
    held: Held,
    tokens: Arc<TokenSet>,
    refused_at: Option<Timestamp>,
    pub(super) error: Arc<TokenError>,
}

impl Unsaved {
    pub(super) fn new(held: Held, tokens: Arc<TokenSet>, refused_at: Option<Timestamp>, error: StoreError) -> Self {
        Self { held, tokens, refused_at, error: Arc::new(error.into()) }
    }

    /// Tries again to save; gives back the lock that was held for it.
    pub(super) async fn save(self, ports: &Ports) -> Result<Held, Self> {
        if let Err(error) = ports.store.save(&self.held, &self.tokens).await {
            return Err(Self { error: Arc::new(error.into()), ..self });
        }
        tell_others(ports, &self.held, &Stamp { refused_at: self.refused_at, ..Stamp::of(&self.tokens) }).await;
        Ok(self.held)
    }
}

impl Flown {
    pub(super) fn with(outcome: Outcome) -> Self {
        Self { arrival: Arrival { outcome, remember: None, refused_at: None }, source: None, unsaved: None }
    }

    pub(super) fn adopted(tokens: TokenSet) -> Self {
        debug!(generation = tokens.generation.number(), "adopted the tokens that another process got");
        Self { source: Some(Source::Adopted), ..Self::with(Ok(Arc::new(tokens))) }
    }

    pub(super) fn failed(error: TokenError) -> Self {
        Self::with(Err(Arc::new(error)))
    }

    pub(super) fn still_unsaved(parked: Unsaved) -> Self {
        let outcome = Err(Arc::clone(&parked.error));
        Self { unsaved: Some(parked), ..Self::with(outcome) }
    }
}

/// Writes the stamp where its loss is no failure: what it tells is in the store too, or only saves others some work.
pub(super) async fn tell_others(ports: &Ports, held: &Held, stamp: &Stamp) {
    if let Err(error) = ports.rendezvous.set_stamp(held, stamp).await {
        debug!(%error, "could not write the stamp");
    }
}
