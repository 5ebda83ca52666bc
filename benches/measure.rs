//! Measuring side by side: short batches of each contender in turn, many rounds, medians.

use crate::app::answer;
use axum::http::{Request, Response};
use bytes::Bytes;
use http_body::Body;
use std::fmt::Write;
use std::rc::Rc;
use std::sync::LazyLock;
use std::time::Instant;
use tokio::runtime::{Builder, Runtime};
use tokio::task::yield_now;
use tower::Service;

/// Reads something that only grows: a clock, or a count of allocations.
pub type Meter = fn() -> u64;

/// Nanoseconds since the first reading.
pub fn nanoseconds() -> u64 {
    static START: LazyLock<Instant> = LazyLock::new(Instant::now);
    u64::try_from(START.elapsed().as_nanos()).expect("584 years")
}

/// A runtime with one thread, this one.
///
/// # Panics
///
/// When the system refuses what it needs.
pub fn runtime() -> Rc<Runtime> {
    Rc::new(Builder::new_current_thread().enable_all().build().expect("a runtime"))
}

/// Something that is measured in batches.
pub struct Contender {
    /// What the tables call it.
    pub name: &'static str,
    batch: Box<dyn FnMut(u32, Meter) -> u64>,
}

impl Contender {
    /// `batch` does a piece of work so many times, and returns by how much the meter rose meanwhile.
    pub fn new(name: &'static str, batch: impl FnMut(u32, Meter) -> u64 + 'static) -> Self {
        Self { name, batch: Box::new(batch) }
    }

    /// A service that answers requests one after the other. The requests are made before the meter runs.
    pub fn service<S, Q, P>(
        name: &'static str,
        runtime: &Rc<Runtime>,
        mut service: S,
        mut request: impl FnMut() -> Request<Q> + 'static,
    ) -> Self
    where
        S: Service<Request<Q>, Response = Response<P>> + 'static,
        P: Body<Data = Bytes>,
        Q: 'static,
    {
        let runtime = Rc::clone(runtime);
        Self::new(name, move |times, meter| {
            let requests: Vec<_> = (0..times).map(|_| request()).collect();
            // For what the service left to the background.
            runtime.block_on(yield_now());
            metered(&runtime, &mut service, requests, meter)
        })
    }

    /// Does its work so many times.
    pub fn run(&mut self, times: u32, meter: Meter) -> u64 {
        (self.batch)(times, meter)
    }
}

/// Runs one contender alone, in batches, for a profiler.
///
/// # Panics
///
/// When there is none of that name.
pub fn alone(contenders: &mut [Contender], name: &str, times: u32, batch: u32) {
    let found = contenders.iter_mut().find(|contender| contender.name == name);
    let contender = found.unwrap_or_else(|| panic!("nobody is called {name:?}"));
    (0..times.div_ceil(batch)).for_each(|_| _ = contender.run(batch, nanoseconds));
}

/// By how much the meter rises while the service answers the requests. Never inlined, so that callgrind can be told to
/// look at nothing else.
#[inline(never)]
pub fn metered<S, Q, P>(runtime: &Runtime, service: &mut S, requests: Vec<Request<Q>>, meter: Meter) -> u64
where
    S: Service<Request<Q>, Response = Response<P>>,
    P: Body<Data = Bytes>,
{
    runtime.block_on(serve(service, requests, meter))
}

async fn serve<S, Q, P>(service: &mut S, requests: Vec<Request<Q>>, meter: Meter) -> u64
where
    S: Service<Request<Q>, Response = Response<P>>,
    P: Body<Data = Bytes>,
{
    let before = meter();
    for request in requests {
        std::hint::black_box(answer(service, request).await);
    }
    meter() - before
}

/// How much to measure.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// How often each contender has its turn.
    pub rounds: u32,
    /// How often it does its work in one turn.
    pub batch: u32,
}

/// Nanoseconds per piece of work, for each contender in each round.
pub struct Times(Vec<Vec<f64>>);

impl Times {
    /// Measures. In each round another contender is the first, and each warms up first, so that none suffers from what
    /// its predecessor left in the processor's caches.
    pub fn measure(contenders: &mut [Contender], plan: Plan) -> Self {
        let mut times = vec![Vec::new(); contenders.len()];
        for round in 0..plan.rounds as usize {
            for turn in 0..contenders.len() {
                let who = (round + turn) % contenders.len();
                contenders[who].run(plan.batch / 4 + 1, nanoseconds);
                let took = contenders[who].run(plan.batch, nanoseconds);
                times[who].push(per(took, plan.batch));
            }
        }
        Self(times)
    }

    /// The median, and the quartiles around it.
    pub fn of(&self, contender: usize) -> Spread {
        Spread::of(self.0[contender].clone())
    }

    /// What one contender takes for each nanosecond of another, round by round.
    pub fn ratio(&self, one: usize, other: usize) -> Spread {
        self.compare(one, other, |one, other| one / other)
    }

    /// What one contender takes more than another, round by round.
    pub fn difference(&self, one: usize, other: usize) -> Spread {
        self.compare(one, other, |one, other| one - other)
    }

    fn compare(&self, one: usize, other: usize, compare: fn(f64, f64) -> f64) -> Spread {
        let rounds = self.0[one].iter().zip(&self.0[other]);
        Spread::of(rounds.map(|(&one, &other)| compare(one, other)).collect())
    }
}

/// A total for each of so many.
#[expect(clippy::cast_precision_loss, reason = "what is measured here is far below 2^52")]
pub fn per(total: u64, count: impl Into<u64>) -> f64 {
    total as f64 / count.into() as f64
}

/// The middle half of what was measured.
#[derive(Clone, Copy, Debug)]
pub struct Spread {
    /// A quarter is below.
    pub low: f64,
    /// Half is below.
    pub median: f64,
    /// Three quarters are below.
    pub high: f64,
}

impl Spread {
    /// # Panics
    ///
    /// When there are no values.
    pub fn of(mut values: Vec<f64>) -> Self {
        values.sort_by(f64::total_cmp);
        let at = |quarter: usize| values[(values.len() - 1) * quarter / 4];
        Self { low: at(1), median: at(2), high: at(3) }
    }
}

/// A table as Markdown has it, numbers to the right.
pub struct Table(String);

impl Table {
    /// Begins a table.
    pub fn new(columns: &[&str]) -> Self {
        let mut table = Self(String::new());
        table.row(columns);
        let rule: Vec<&str> = (0..columns.len()).map(|at| if at == 0 { "---" } else { "---:" }).collect();
        table.row(&rule);
        table
    }

    /// Adds a row.
    pub fn row<C: AsRef<str>>(&mut self, cells: &[C]) {
        for cell in cells {
            write!(self.0, "| {} ", cell.as_ref()).expect("a String takes any text");
        }
        self.0.push_str("|\n");
    }

    /// Writes it to standard output.
    pub fn print(&self) {
        println!("{}", self.0);
    }
}
