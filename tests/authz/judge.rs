//! An authorizer that a test writes.

use super::*;
use terrace::authz::{Authorizer, AuthzBuilder, Context, Decision, DenyReason, Query, Requirement};

pub(crate) const NO: Decision = Decision::Deny(DenyReason::NotGranted);

/// Decides as a test has written, and denies everything else.
#[derive(Clone)]
pub(crate) struct Judge(Arc<Book>);

struct Book {
    rules: Mutex<HashMap<String, Decision>>,
    mode: Mutex<Mode>,
    /// How many answers too many it gives, or too few.
    surplus: Mutex<isize>,
    /// What was asked, call by call.
    calls: Mutex<Vec<Vec<String>>>,
    gate: Semaphore,
}

/// A question as a text: `tenant/subject action [resource] name=value ..`.
pub(crate) fn text(query: &Query<'_>) -> String {
    let resource = query.resource.map(|resource| format!(" [{resource}]")).unwrap_or_default();
    let (tenant, subject) = (query.who.tenant.as_str(), query.who.subject.as_str());
    let words = query.context.iter().flat_map(|(name, value)| [" ", name, "=", value]);
    [tenant, "/", subject, " ", query.action, &resource].into_iter().chain(words).collect()
}

impl Judge {
    pub(crate) fn new() -> Self {
        Self(Arc::new(Book {
            rules: Mutex::default(),
            mode: Mutex::new(Mode::Answers),
            surplus: Mutex::default(),
            calls: Mutex::default(),
            gate: Semaphore::new(0),
        }))
    }

    pub(crate) fn says(&self, question: &str, decision: Decision) {
        self.0.rules.lock().unwrap().insert(question.to_owned(), decision);
    }

    pub(crate) fn mode(&self, mode: Mode) {
        *self.0.mode.lock().unwrap() = mode;
    }

    pub(crate) fn surplus(&self, answers: isize) {
        *self.0.surplus.lock().unwrap() = answers;
    }

    pub(crate) fn release(&self, calls: usize) {
        self.0.gate.add_permits(calls);
    }

    pub(crate) fn calls(&self) -> usize {
        self.0.calls.lock().unwrap().len()
    }

    /// What was asked last, in one call.
    pub(crate) fn last(&self) -> Vec<String> {
        self.0.calls.lock().unwrap().last().cloned().unwrap_or_default()
    }

    /// Waits until it has been called so often.
    pub(crate) async fn called(&self, times: usize) {
        while self.calls() < times {
            tokio::task::yield_now().await;
        }
    }
}

impl Authorizer for Judge {
    type Error = Broken;

    async fn check(&self, query: &Query<'_>) -> Result<Decision, Broken> {
        Ok(self.check_many(std::slice::from_ref(query)).await?[0])
    }

    async fn check_many(&self, queries: &[Query<'_>]) -> Result<Vec<Decision>, Broken> {
        let asked: Vec<String> = queries.iter().map(text).collect();
        let rules = self.0.rules.lock().unwrap().clone();
        let mut answers: Vec<Decision> = asked.iter().map(|asked| rules.get(asked).copied().unwrap_or(NO)).collect();
        let surplus = *self.0.surplus.lock().unwrap();
        answers.resize(answers.len().saturating_add_signed(surplus), Decision::Allow);
        self.0.calls.lock().unwrap().push(asked);
        let mode = *self.0.mode.lock().unwrap();
        match mode {
            Mode::Answers => Ok(answers),
            Mode::Slow => {
                tokio::time::sleep(Duration::from_millis(1)).await;
                Ok(answers)
            }
            Mode::Fails => Err(Broken),
            Mode::Panics => panic!("an authorizer that panics, as this test wants it"),
            Mode::Hangs => std::future::pending().await,
            Mode::Gated => {
                self.0.gate.acquire().await.unwrap().forget();
                Ok(answers)
            }
        }
    }
}

pub(crate) fn context(pairs: &[(&str, &str)]) -> Context {
    Context::new(pairs.iter().copied()).unwrap()
}

/// One process whose authorizer decides what permissions do not, of which the directory has a part.
pub(crate) struct Court {
    pub(crate) clock: FakeClock,
    pub(crate) directory: Directory,
    pub(crate) judge: Judge,
    pub(crate) store: Store,
    pub(crate) authz: Authz,
    pub(crate) alice: Principal,
}

impl Court {
    /// In which the judge lets alice of acme read, and decisions are cached.
    pub(crate) fn new() -> Self {
        Self::with(&[])
    }

    pub(crate) fn with(vars: &[(&str, &str)]) -> Self {
        Self::built(vars, |builder| builder.cache_decisions("judge"))
    }

    pub(crate) fn built(vars: &[(&str, &str)], more: impl FnOnce(AuthzBuilder) -> AuthzBuilder) -> Self {
        let (clock, directory, judge, alice) = (clock(), Directory::new(), Judge::new(), who("acme", "alice"));
        let store = Store::with_fake_clock(Config::default(), &clock);
        directory.set(&alice, Grants::partial(Vec::<String>::new()));
        judge.says("acme/alice read", Decision::Allow);
        let builder = Authz::from_vars(store.clone(), directory.clone(), vars.iter().copied()).unwrap();
        let builder = builder.authorizer(judge.clone()).identify(Tokens).single_process();
        let authz = more(builder).build().unwrap();
        Self { clock, directory, judge, store, authz, alice: Principal::new(alice) }
    }

    pub(crate) async fn check(&self, requirement: impl Into<Requirement>) -> Option<Decision> {
        self.authz.check(&self.alice, requirement).await.ok()
    }

    /// Whether alice may read, if there is a decision.
    pub(crate) async fn reads(&self) -> Option<bool> {
        self.check("read").await.map(Decision::is_allow)
    }

    pub(crate) fn advance(&self, milliseconds: u64) {
        self.clock.advance(Duration::from_millis(milliseconds));
    }

    pub(crate) fn statuses(&self) -> HashMap<&'static str, u64> {
        statuses(&self.authz.stats())
    }
}
