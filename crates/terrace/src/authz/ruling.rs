//! From facts to decisions.

use super::context::Context;
use super::decision::{Decision, DenyReason, Unavailable, UnavailableReason};
use super::decisions::Answer;
use super::engine::{Engine, Explanation};
use super::evaluate::{Verdict, combine, evaluate, in_scope, judge};
use super::facts::Facts;
use super::ground::{Ground, Judged};
use super::layer::Shared;
use super::load::{Known, Want};
use super::principal::Principal;
use super::requirement::{Demand, Requirement};
use super::source::Query;
use crate::Authorized;
use crate::clock::Instant;
use crate::observe::Audit;
use crate::observe::stats::{BypassReason, CheckDecision, CheckStatus, LookupResult, Tier};
use crate::store::{Entry, Standing};
use std::sync::Arc;
use std::time::Duration;

/// When a check began. The two differ where somebody had to find out who asks.
#[derive(Clone, Copy, Debug)]
pub(super) struct Begun {
    /// Its request came: from then on it takes time.
    pub(super) came: Instant,
    /// It is known who asks: from then on it waits, and what is known by then is what it goes by.
    pub(super) asked: Instant,
}

impl Begun {
    pub(super) fn at(now: Instant) -> Self {
        Self { came: now, asked: now }
    }
}

/// A requirement, with what it is about in this request.
#[derive(Clone, Debug)]
pub(super) struct Question<'a> {
    pub(super) requirement: &'a Requirement,
    pub(super) resource: Option<&'a str>,
    pub(super) demand: Demand,
    /// Of the request, beside that of the requirement.
    pub(super) context: Option<&'a Context>,
}

impl<'a> Question<'a> {
    /// Of a requirement that is about nothing in a path.
    #[cfg_attr(not(feature = "axum"), expect(clippy::unnecessary_wraps, reason = "with axum there are paths"))]
    pub(super) fn of(requirement: &'a Requirement) -> Result<Self, Unavailable> {
        #[cfg(feature = "axum")]
        if requirement.resource_param.is_some() || requirement.tenant_param.is_some() {
            return Err(UnavailableReason::Parameter.into());
        }
        let (resource, demand) = (requirement.resource.as_deref(), requirement.demand.clone());
        Ok(Self { requirement, resource, demand, context: None })
    }

    fn want(&self) -> Want {
        Want { demand: self.demand.clone(), below: None, stale: self.requirement.stale }
    }

    fn context(&self) -> Context {
        let own = &self.requirement.context;
        self.context.map_or_else(|| own.clone(), |more| own.and(more))
    }
}

/// What was decided, and on what.
#[derive(Clone, Debug)]
pub(super) struct Ruling {
    pub(super) decision: Decision,
    pub(super) status: CheckStatus,
    /// None was needed for the decision.
    pub(super) known: Option<Known>,
    /// The authorizer decided, and that is not cached.
    pub(super) was_asked: bool,
    /// What is cached of the authorizer's decisions that were needed, where facts alone do not decide.
    pub(super) decisions: Box<[Arc<Entry<Facts>>]>,
    pub(super) id: u64,
}

impl Ruling {
    fn new(decision: Decision, status: CheckStatus, known: Option<Known>) -> Self {
        Self { decision, status, known, was_asked: false, decisions: Box::default(), id: fastrand::u64(..) }
    }

    /// Without facts.
    pub(super) fn deny(reason: DenyReason) -> Self {
        Self::new(Decision::Deny(reason), CheckStatus::Bypass, None)
    }

    pub(super) fn decision(&self) -> Decision {
        self.decision
    }

    pub(super) fn age(&self, now: Instant) -> Duration {
        let age = self.known.as_ref().map_or(Duration::ZERO, |known| known.facts().age(now));
        self.decisions.iter().map(|entry| entry.value().age(now)).fold(age, Duration::max)
    }

    /// The decisions that it rests on. One that denies is no reason to allow anything.
    fn allowing(&self) -> impl Iterator<Item = &Arc<Entry<Facts>>> {
        self.decisions.iter().filter(|entry| !entry.value().allow_nothing())
    }

    /// What the request is told of it. What an authorizer has decided without anything being cached of it, or is past its
    /// deadline, is of no use later.
    pub(super) fn authorized(
        &self,
        shared: &Arc<Shared>,
        principal: Principal,
        (resource, context): (Option<String>, Option<Context>),
    ) -> Authorized {
        let engine = &*shared.engine;
        let now = engine.tiers.clock().now();
        let known = self.known.as_ref().filter(|known| !known.is_stale && !self.was_asked);
        let ends = principal.valid_until.map(|end| now + end.duration_since(engine.wall()).unwrap_or_default());
        let (until, entry) = (known.map_or(now, |known| known.facts().deadline), known.map(|it| Arc::clone(&it.entry)));
        let judged = (context.is_some() || !self.decisions.is_empty()).then(|| {
            let decisions = self.allowing().filter(|_| known.is_some()).map(Arc::clone).collect();
            Box::new(Judged { context, decisions })
        });
        let decisions = judged.iter().flat_map(|judged| &judged.decisions);
        let until = decisions.map(|entry| entry.value().deadline).fold(until, Instant::min);
        let first = |one: Instant| ends.map_or(one, |end| one.min(end));
        let ground = Ground {
            shared: Arc::clone(shared),
            resource,
            ends: first(if entry.is_some() { until } else { now + engine.bound() }),
            entry,
            judged,
        };
        Authorized {
            ground,
            decision_id: self.id,
            cache_status: self.status,
            age: self.age(now),
            position: engine.tiers.mirror().position().get(),
            version: self.known.as_ref().and_then(|known| known.facts().grants.version),
            until: first(until),
            principal,
        }
    }

    pub(super) fn explanation(&self, engine: &Engine, requirement: &Requirement) -> Explanation {
        let facts = self.known.as_ref().map(Known::facts);
        let via = facts.and_then(|facts| {
            let resource = requirement.resource.as_deref();
            via(evaluate(&requirement.rule, resource, &facts.grants, &[], &|| engine.wall())).map(str::to_owned)
        });
        Explanation {
            decision: self.decision,
            permissions: requirement.permissions().map(str::to_owned).collect(),
            via: via.filter(|_| self.decision.is_allow()),
            cache_status: self.status,
            age: self.age(engine.tiers.clock().now()),
            source_version: facts.and_then(|facts| facts.grants.version),
        }
    }
}

fn via(verdict: Verdict<'_>) -> Option<&str> {
    match verdict {
        Verdict::Allow(Some(grant)) => grant.via.as_deref(),
        _ => None,
    }
}

pub(super) fn counted(decision: Decision) -> CheckDecision {
    match decision {
        Decision::Allow => CheckDecision::Allow,
        Decision::Deny(_) => CheckDecision::Deny,
    }
}

impl Engine {
    /// Decides with what is in memory, if that is enough. Counts the check then, and nothing else.
    #[inline]
    pub(super) fn rule_now(
        self: &Arc<Self>,
        principal: &Principal,
        question: &Question<'_>,
        Begun { came, asked }: Begun,
    ) -> Option<Ruling> {
        let key = self.keys.permissions(&principal.who);
        let entry = self.glance(&key, &question.want(), asked)?;
        let facts = entry.value();
        let decision = self.evaluate(principal, question, &facts.grants).decision()?;
        if !decision.is_allow() && facts.age(asked) >= self.tiers.settings().authz_deny_ttl() {
            return None;
        }
        self.look_ahead(&principal.who, &entry, asked);
        let observe = self.tiers.observe();
        observe.lookup(Tier::L1, LookupResult::Hit);
        let known = Known::found(entry, CheckStatus::L1CacheHit, None);
        let ruling = Ruling::new(decision, CheckStatus::L1CacheHit, Some(known));
        self.audit(principal, question, &ruling, asked);
        observe.check(CheckStatus::L1CacheHit, counted(decision), came);
        Some(ruling)
    }

    fn evaluate<'a>(&self, principal: &Principal, question: &Question<'_>, grants: &'a super::Grants) -> Verdict<'a> {
        evaluate(&question.requirement.rule, question.resource, grants, &principal.scopes, &|| self.wall())
    }

    /// Decides several questions of one caller, each counted once, whatever comes.
    pub(super) async fn rule(
        self: &Arc<Self>,
        principal: &Principal,
        questions: &[Question<'_>],
        Begun { came, asked }: Begun,
    ) -> Result<Vec<Ruling>, Unavailable> {
        if questions.is_empty() {
            return Ok(Vec::new());
        }
        let pending = self.tiers.observe().pending_checks(questions.len() as u64, came);
        let rulings = if self.has_ended(principal) {
            questions.iter().map(|_| Ruling::deny(DenyReason::CredentialEnded)).collect()
        } else {
            self.decide(principal, questions, asked).await?
        };
        let mut counts = [0; CheckDecision::ALL.len()];
        for (ruling, question) in rulings.iter().zip(questions) {
            counts[counted(ruling.decision) as usize] += 1;
            self.audit(principal, question, ruling, asked);
        }
        pending.finish(rulings[0].status, counts);
        Ok(rulings)
    }

    /// Counts and audits a check that is denied whatever the facts are.
    pub(super) fn deny(&self, principal: &Principal, requirement: &Requirement, reason: DenyReason, begun: Begun) {
        let (ruling, demand) = (Ruling::deny(reason), Demand::default());
        let question = Question { requirement, resource: None, demand, context: None };
        self.audit(principal, &question, &ruling, begun.asked);
        self.tiers.observe().bypass(BypassReason::Request);
        self.tiers.observe().check(ruling.status, counted(ruling.decision), begun.came);
    }

    /// Counts checks that fail before anything is looked for.
    pub(super) fn fail(&self, checks: usize, begun: Begun) {
        drop(self.tiers.observe().pending_checks(checks as u64, begun.came));
    }

    pub(super) fn has_ended(&self, principal: &Principal) -> bool {
        principal.valid_until.is_some_and(|end| self.wall() >= end)
    }

    async fn decide(
        self: &Arc<Self>,
        principal: &Principal,
        questions: &[Question<'_>],
        asked: Instant,
    ) -> Result<Vec<Ruling>, Unavailable> {
        loop {
            let found = self.by_facts(principal, questions, asked).await?;
            if let Some(rulings) = self.conclude(principal, questions, found, asked).await? {
                return Ok(rulings);
            }
        }
    }

    /// What facts decide, and these facts.
    async fn by_facts(
        self: &Arc<Self>,
        principal: &Principal,
        questions: &[Question<'_>],
        asked: Instant,
    ) -> Result<(Vec<Option<Decision>>, Known), Unavailable> {
        let mut want = strictest(questions);
        let mut known = self.seek(&principal.who, &want, asked).await?;
        let mut decisions = self.verdicts(principal, questions, &known);
        let deny_ttl = self.tiers.settings().authz_deny_ttl();
        let denies = decisions.iter().any(|decision| matches!(decision, Some(Decision::Deny(_))));
        // What was loaded for this check is as young as can be.
        let is_old = known.facts().begun < asked && known.facts().age(asked) >= deny_ttl;
        if denies && is_old && !known.is_stale {
            if deny_ttl.is_zero() {
                want.demand.fresh = true;
            }
            want.below = Some(deny_ttl).filter(|below| !below.is_zero());
            // If nobody can say better, what is known still holds.
            if let Ok(younger) = self.seek(&principal.who, &want, asked).await {
                decisions = self.verdicts(principal, questions, &younger);
                known = younger;
            }
        }
        Ok((decisions, known))
    }

    fn verdicts(&self, principal: &Principal, questions: &[Question<'_>], known: &Known) -> Vec<Option<Decision>> {
        let grants = &known.facts().grants;
        questions.iter().map(|question| self.evaluate(principal, question, grants).decision()).collect()
    }

    /// Asks the authorizer what facts do not decide. `None` if something that this rests on was revoked meanwhile.
    async fn conclude(
        self: &Arc<Self>,
        principal: &Principal,
        questions: &[Question<'_>],
        (decisions, known): (Vec<Option<Decision>>, Known),
        asked: Instant,
    ) -> Result<Option<Vec<Ruling>>, Unavailable> {
        let ruling = |decision, status| Ruling::new(decision, status, Some(known.clone()));
        if let Some(decided) = decisions.iter().copied().collect::<Option<Vec<Decision>>>() {
            return Ok(Some(decided.into_iter().map(|decision| ruling(decision, known.status)).collect()));
        }
        if self.authorizer.is_none() {
            return Err(UnavailableReason::Undecided.into());
        }
        let contexts: Vec<Context> = questions.iter().map(Question::context).collect();
        let mut open = Vec::new();
        for (at, question) in questions.iter().enumerate().filter(|(at, _)| decisions[*at].is_none()) {
            open.extend(self.undecided(principal, (question, &contexts[at]), &known).map(|query| (at, query)));
        }
        let queries: Vec<Query<'_>> = open.iter().map(|(_, query)| *query).collect();
        let want = Want::of_decision(strictest(questions).demand);
        let answers = self.answers(&queries, &want, asked).await?;
        // What was found out for this check is as young as can be.
        let holds = |it: &Entry<Facts>| it.value().begun >= asked || it.standing() == Standing::Current;
        if !answers.iter().filter_map(|answer| answer.entry.as_deref()).chain([&*known.entry]).all(holds) {
            return Ok(None);
        }
        let status = answers.iter().map(|answer| answer.status).fold(known.status, slower);
        // Of facts it is counted already.
        if status == CheckStatus::Bypass && known.bypass.is_none() {
            answers
                .iter()
                .find_map(|answer| answer.bypass)
                .into_iter()
                .for_each(|why| self.tiers.observe().bypass(why));
        }
        let rulings = questions.iter().zip(decisions).enumerate().map(|(at, (question, decision))| {
            let own = open.iter().zip(&answers).filter(|((of, _), _)| *of == at);
            let own: Vec<(&str, &Answer)> = own.map(|((_, query), answer)| (query.action, answer)).collect();
            let decision = decision.unwrap_or_else(|| self.with_answers(principal, question, &known, &own));
            let was_asked = answers.iter().any(|answer| answer.entry.is_none());
            let decisions = own.iter().filter_map(|(_, answer)| answer.entry.clone()).collect();
            Ruling { was_asked, decisions, ..ruling(decision, status) }
        });
        Ok(Some(rulings.collect()))
    }

    /// What of a question is for the authorizer.
    fn undecided<'a>(
        &self,
        principal: &'a Principal,
        (question, context): (&Question<'a>, &'a Context),
        known: &Known,
    ) -> impl Iterator<Item = Query<'a>> {
        let (resource, grants, now) = (question.resource, &known.facts().grants, || self.wall());
        let open =
            move |action: &&str| judge((action, resource), grants, &principal.scopes, &now) == Verdict::Undecided;
        let queries = question.requirement.permissions().filter(open);
        let queries: Vec<_> = queries.map(|action| Query { who: &principal.who, action, resource, context }).collect();
        queries.into_iter()
    }

    /// A question, with the authorizer's answers about its permissions.
    fn with_answers(
        &self,
        principal: &Principal,
        question: &Question<'_>,
        known: &Known,
        answers: &[(&str, &Answer)],
    ) -> Decision {
        let (rule, grants, now) = (&question.requirement.rule, &known.facts().grants, || self.wall());
        let verdicts = rule.permissions.iter().map(|permission| {
            let asked = (&**permission, question.resource);
            match judge(asked, grants, &principal.scopes, &now) {
                Verdict::Undecided => {
                    // None about what was granted a moment ago, and has ended.
                    let answer = answers.iter().find(|(action, _)| action == permission);
                    answer.map_or(Verdict::Undecided, |(_, answer)| {
                        in_scope(asked, &principal.scopes, answer.decision.into())
                    })
                }
                verdict => verdict,
            }
        });
        combine(rule.needs, verdicts).decision().unwrap_or(Decision::Deny(DenyReason::NotGranted))
    }

    fn audit(&self, principal: &Principal, question: &Question<'_>, ruling: &Ruling, asked: Instant) {
        let observe = self.tiers.observe();
        if ruling.known.is_some() {
            observe.entry_age(ruling.age(asked));
        }
        observe.decided(|| {
            let facts = ruling.known.as_ref().map(Known::facts);
            let permissions: Vec<&str> = question.requirement.permissions().collect();
            Audit {
                decision_id: ruling.id,
                decision: counted(ruling.decision),
                reason: match ruling.decision {
                    Decision::Allow => "granted",
                    Decision::Deny(reason) => reason.as_str(),
                },
                via: facts.and_then(|facts| via(self.evaluate(principal, question, &facts.grants))),
                requirement: permissions.join(" "),
                status: ruling.status,
                age: ruling.age(asked),
                position: self.tiers.mirror().position().get(),
                version: facts.and_then(|facts| facts.grants.version).map(|version| version.0),
                stale: ruling.known.as_ref().is_some_and(|known| known.is_stale),
                subject: self.tiers.hash(&self.keys.permissions(&principal.who)),
            }
        });
    }
}

/// What all questions of a caller together need of facts.
fn strictest(questions: &[Question<'_>]) -> Want {
    let mut questions = questions.iter();
    let first = questions.next().map(Question::want).unwrap_or_default();
    questions.fold(first, |want, question| {
        let demand = want.demand.and(question.demand.clone());
        Want { demand, below: None, stale: want.stale.min(question.requirement.stale) }
    })
}

/// How a check was answered for which both were needed: by the one that takes longer.
fn slower(one: CheckStatus, other: CheckStatus) -> CheckStatus {
    let order = |status| match status {
        CheckStatus::L1CacheHit => 0,
        CheckStatus::L2CacheHit => 1,
        CheckStatus::Coalesced => 2,
        CheckStatus::Bypass => 3,
        CheckStatus::Miss => 4,
        CheckStatus::Error => 5,
    };
    if order(one) < order(other) { other } else { one }
}
