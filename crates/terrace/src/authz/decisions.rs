//! Decisions of the authorizer: from memory or from the tier that is shared while it is proven that they hold, else from
//! itself, in one call for all that are missing, and once for all who ask the same.

use super::context::Context;
use super::decision::{Decision, Unavailable, UnavailableReason};
use super::engine::Engine;
use super::facts::Facts;
use super::grants::Grants;
use super::load::{Known, Loaded, Look, Want};
use super::principal::Who;
use super::requirement::Demand;
use super::source::Query;
use crate::clock::Instant;
use crate::observe::stats::{BypassReason, CheckStatus, LockKind, LockResult, LookupResult, Tier};
use crate::store::{Entry, Join, Key, Landing, Lead, Ticket, Wait};
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;
use tokio::runtime::Handle;

/// What the authorizer says to one question.
#[derive(Clone, Debug)]
pub(super) struct Answer {
    pub(super) decision: Decision,
    /// How that was found.
    pub(super) status: CheckStatus,
    /// What is cached of it; `None` if decisions are not.
    pub(super) entry: Option<Arc<Entry<Facts>>>,
    /// Why what is cached was no help, if it was not to be used or failed.
    pub(super) bypass: Option<BypassReason>,
}

impl Want {
    /// What a decision has to be like. It has no version of the source: it is asked for anew where one is demanded.
    pub(super) fn of_decision(Demand { fresh, receipt, version }: Demand) -> Self {
        let demand = Demand { fresh: fresh || version.is_some(), receipt, version: None };
        Self { demand, ..Self::default() }
    }
}

/// A question, for as long as the authorizer takes.
struct Asked {
    who: Who,
    action: Box<str>,
    resource: Option<Box<str>>,
    context: Context,
}

impl Asked {
    fn of(query: &Query<'_>) -> Self {
        let Query { who, action, resource, context } = *query;
        Self { who: who.clone(), action: action.into(), resource: resource.map(Into::into), context: context.clone() }
    }

    fn query(&self) -> Query<'_> {
        let Self { who, action, resource, context } = self;
        Query { who, action, resource: resource.as_deref(), context }
    }
}

/// The questions that memory does not answer, by their places.
#[derive(Default)]
struct Missing {
    /// For somebody else to answer.
    others: Vec<(usize, Option<BypassReason>, Key, Wait<Loaded>)>,
    /// For this check to find out, and why only what the authorizer says from now on is of use, if that is so.
    own: Vec<(usize, Option<BypassReason>, Lead<Loaded>)>,
    /// Of those, in their order.
    tickets: Vec<Ticket>,
}

impl Engine {
    /// Answers questions of one caller, in their order: the authorizer is asked for what is not cached.
    pub(super) async fn answers(
        self: &Arc<Self>,
        queries: &[Query<'_>],
        want: &Want,
        asked: Instant,
    ) -> Result<Vec<Answer>, Unavailable> {
        let keys = queries.iter().map(|query| self.keys.decision(query));
        let keys: Option<Vec<Key>> = keys.map(|key| key.map(|key| Key::new(self.tiers.hash(&key), &key))).collect();
        let Some(keys) = keys else {
            let answer = |decision| Answer { decision, status: CheckStatus::Miss, entry: None, bypass: None };
            return Ok(self.ask(queries, self.left(asked)).await?.into_iter().map(answer).collect());
        };
        let mut known: Vec<Option<Known>> = vec![None; queries.len()];
        while known.iter().any(Option::is_none) {
            let missing = self.look_for(&keys, want, asked, &mut known);
            self.find_out(missing, queries, (want, asked), &mut known).await?;
        }
        known.into_iter().flatten().map(Answer::of).collect()
    }

    /// Asks the authorizer, which has this time.
    async fn ask(&self, queries: &[Query<'_>], budget: Duration) -> Result<Vec<Decision>, Unavailable> {
        let authorizer = self.authorizer.as_ref().ok_or(UnavailableReason::Undecided)?;
        let decisions = self.bounded(authorizer.check_many(queries), budget).await?;
        // Who answers less or more than was asked has answered nothing.
        if decisions.len() == queries.len() { Ok(decisions) } else { Err(UnavailableReason::Source.into()) }
    }

    /// Looks into memory for what is not known yet.
    fn look_for(&self, keys: &[Key], want: &Want, asked: Instant, known: &mut [Option<Known>]) -> Missing {
        let mut missing = Missing::default();
        for (at, key) in keys.iter().enumerate().filter(|(at, _)| known[*at].is_none()).collect::<Vec<_>>() {
            let (ticket, bypass) = match self.look_for_one(key, want, asked) {
                Look::Known(found) => {
                    known[at] = Some(found);
                    continue;
                }
                Look::Load(ticket) => (ticket, None),
                Look::Bypass(ticket, bypass) => (ticket, Some(bypass)),
            };
            match self.flights.join(key.hash(), self.tiers.clock().now()) {
                Join::Wait(flight) => missing.others.push((at, bypass, key.clone(), flight)),
                Join::Lead(lead) => {
                    self.tiers.observe().lock(LockKind::Local, LockResult::Acquired);
                    known[at] = self.lands(lead, ticket, (at, bypass, want), &mut missing);
                }
            }
        }
        missing
    }

    fn look_for_one(&self, key: &Key, want: &Want, asked: Instant) -> Look {
        match self.look(key, want, asked) {
            // The setting may have changed since.
            Look::Known(known) if known.is_old_deny(self.tiers.settings().authz_deny_ttl(), asked) => {
                Look::Bypass(self.tiers.ticket(key.clone(), asked), BypassReason::Fresh)
            }
            look => look,
        }
    }

    /// What somebody has landed between the look and the join, if anybody has.
    fn lands(
        &self,
        lead: Lead<Loaded>,
        ticket: Ticket,
        (at, bypass, want): (usize, Option<BypassReason>, &Want),
        missing: &mut Missing,
    ) -> Option<Known> {
        let found = self.glance(ticket.key().bytes(), want, self.tiers.clock().now()).filter(|_| bypass.is_none());
        let Some(entry) = found else {
            missing.own.push((at, bypass, lead));
            missing.tickets.push(ticket);
            return None;
        };
        self.tiers.observe().lookup(Tier::L1, LookupResult::Hit);
        lead.land(Landing::Entry(Ok(Arc::clone(&entry))));
        Some(Known::found(entry, CheckStatus::L1CacheHit, None))
    }

    /// Finds out what is missing: in the tier that is shared, from the authorizer, from those who ask already.
    async fn find_out(
        self: &Arc<Self>,
        missing: Missing,
        queries: &[Query<'_>],
        (want, asked): (&Want, Instant),
        known: &mut [Option<Known>],
    ) -> Result<(), Unavailable> {
        let Missing { others, own, tickets } = missing;
        let looks = own.iter().zip(tickets);
        let looks =
            looks.map(|((at, bypass, _), ticket)| self.look_beyond(queries[*at].who, ticket, (want, bypass.is_some())));
        let looked = together(looks.collect()).await;
        let (mut departing, mut waiting) = (Vec::new(), Vec::new());
        for ((at, bypass, lead), looked) in own.into_iter().zip(looked) {
            match looked {
                Ok(entry) => {
                    lead.land(Landing::Entry(Ok(Arc::clone(&entry))));
                    known[at] = Some(Known::found(entry, CheckStatus::L2CacheHit, None));
                }
                Err((ticket, silence)) => {
                    waiting.push((at, bypass.or(silence), self.own_flight(&ticket)));
                    departing.push((lead, ticket, Asked::of(&queries[at])));
                }
            }
        }
        self.depart_together(departing)?;
        for (at, bypass, flight) in waiting {
            known[at] = Some(Known::found(self.landed(flight, asked).await?, CheckStatus::Miss, bypass));
        }
        for (at, bypass, key, flight) in others {
            let taken = self.follow(flight, &key, (want, bypass.is_some()), asked).await?;
            known[at] = taken.map(|(entry, status)| Known::found(entry, status, bypass));
        }
        Ok(())
    }

    fn own_flight(&self, ticket: &Ticket) -> Wait<Loaded> {
        match self.flights.join(ticket.key().hash(), self.tiers.clock().now()) {
            Join::Wait(flight) => flight,
            Join::Lead(_) => unreachable!("whoever leads keeps the flight in its place"),
        }
    }

    /// Asks the authorizer in a task of its own: who leaves neither ends it nor leaves it half done.
    fn depart_together(self: &Arc<Self>, departing: Vec<(Lead<Loaded>, Ticket, Asked)>) -> Result<(), Unavailable> {
        if departing.is_empty() {
            return Ok(());
        }
        let runtime = Handle::try_current().map_err(|_| UnavailableReason::Runtime)?;
        let engine = Arc::clone(self);
        // Detached on purpose: it has a time limit.
        let observe = self.tiers.observe();
        let asking = observe.filling().within(async move { engine.land_together(departing).await });
        drop(runtime.spawn(observe.within_span(asking)));
        Ok(())
    }

    async fn land_together(&self, departing: Vec<(Lead<Loaded>, Ticket, Asked)>) {
        let begun = self.tiers.clock().now();
        let under_way = self.tiers.observe().fill(begun);
        // Settings may have changed.
        self.tiers.observe().revocation_bound(self.bound());
        let queries: Vec<Query<'_>> = departing.iter().map(|(_, _, asked)| asked.query()).collect();
        let decisions = self.ask(&queries, self.tiers.settings().source_timeout()).await;
        match decisions {
            Ok(decisions) => {
                for ((lead, ticket, asked), decision) in departing.into_iter().zip(decisions) {
                    let kept = self.keep(ticket, &asked.who, (Grants::nothing(), Some(decision)), begun);
                    lead.land(Landing::Entry(kept));
                }
                under_way.stored(self.tiers.clock().now());
            }
            Err(error) => {
                self.tiers.observe().fill_error(&error);
                for (lead, ..) in departing {
                    lead.land(Landing::Entry(Err(error.clone())));
                }
            }
        }
    }
}

impl Known {
    /// Whether it is a deny that is older than denies may be. What was asked for this check is as young as can be.
    fn is_old_deny(&self, deny_ttl: Duration, asked: Instant) -> bool {
        self.facts().allow_nothing() && self.facts().begun < asked && self.facts().age(asked) >= deny_ttl
    }
}

impl Answer {
    fn of(known: Known) -> Result<Self, Unavailable> {
        // What is not a decision decides nothing, wherever it was found.
        let decision = known.facts().decision.ok_or(UnavailableReason::Undecided)?;
        Ok(Self { decision, status: known.status, entry: Some(known.entry), bypass: known.bypass })
    }
}

/// Waits for all of them at the same time. What they come to is in their order.
async fn together<F: Future>(futures: Vec<F>) -> Vec<F::Output> {
    let mut all: Vec<(Pin<Box<F>>, Option<F::Output>)> = futures.into_iter().map(|it| (Box::pin(it), None)).collect();
    poll_fn(|cx| {
        let mut ready = true;
        for (future, output) in all.iter_mut().filter(|(_, output)| output.is_none()) {
            match future.as_mut().poll(cx) {
                Poll::Ready(it) => *output = Some(it),
                Poll::Pending => ready = false,
            }
        }
        if ready { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
    all.into_iter().filter_map(|(_, output)| output).collect()
}
