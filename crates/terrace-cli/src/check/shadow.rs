//! Answers of the cache beside those of the origin.

use super::options::Options;
use crate::ask::Verdict;
use crate::findings::Finding;
use crate::proxy::origin::OriginUrl;
use crate::web::{Reply, Web};
use bytes::Bytes;
use http::{Request, StatusCode, Uri};

pub(super) const ID: &str = "shadow";

/// `shadow`: so many as were asked for; `None` if none were.
pub(super) async fn compare(web: &Web, options: &Options) -> Option<Finding> {
    let (count, origin) = options.shadow.zip(options.origin.as_ref())?;
    let mut seen = Seen::default();
    for url in options.probe_url.iter().cycle().take(count as usize) {
        match one(web, url, origin).await {
            Ok(pair) => seen.add(url, pair),
            Err(why) => return Some(Finding::unknown(ID, why, "give URLs and an --origin that answer")),
        }
    }
    Some(seen.judged().threshold("status and body"))
}

/// What came of all of them.
#[derive(Default)]
struct Seen {
    /// How many the cache has answered.
    hits: usize,
    /// Those that differ, in words.
    different: Vec<String>,
    /// Those that the cache has not answered, in words.
    others: Vec<String>,
}

impl Seen {
    fn add(&mut self, url: &Uri, (cached, fresh): (Reply, Reply)) {
        if let Some(why) = no_hit(&cached) {
            self.others.push(format!("{url}: {why}"));
            return;
        }
        self.hits += 1;
        if !same(&cached, &fresh) {
            self.different.push(told(url, &cached, &fresh));
        }
    }

    fn judged(&self) -> Finding {
        let Self { hits, different, others } = self;
        match (&**different, &**others) {
            ([first, ..], _) => {
                let fix = "purge it (`terrace purge URL`), and find out who changes it without a purge";
                Finding::fail(ID, format!("{} of {hits} differ: {first}", different.len()), fix)
            }
            ([], [first, ..]) if *hits == 0 => {
                let fix = "give a --probe-url that is stored; is the cache on (`terrace flag get`)?";
                Finding::unknown(ID, format!("the cache has answered none of {}: {first}", others.len()), fix)
            }
            ([], []) => Finding::ok(ID, format!("{hits} answers equal those of the origin")),
            ([], [first, ..]) => {
                let apart = format!("{} were not the cache's: {first}", others.len());
                Finding::ok(ID, format!("{hits} answers equal those of the origin; {apart}"))
            }
        }
    }
}

/// Why it says nothing about what is stored.
fn no_hit(reply: &Reply) -> Option<String> {
    match Verdict::of(&reply.headers) {
        _ if !reply.status.is_success() => Some(format!("status {}", reply.status.as_u16())),
        Verdict::Hit => None,
        Verdict::Stored => Some("stored just now".into()),
        Verdict::NotStored(why) => Some(why),
    }
}

/// An answer of the cache and one of the origin.
async fn one(web: &Web, url: &Uri, origin: &OriginUrl) -> Result<(Reply, Reply), String> {
    let (cached, fresh) = both(web, url, origin).await?;
    // What has just been stored is there now; what has changed meanwhile is the same the second time, if it was purged.
    if no_hit(&cached).is_none() && same(&cached, &fresh) { Ok((cached, fresh)) } else { both(web, url, origin).await }
}

async fn both(web: &Web, url: &Uri, origin: &OriginUrl) -> Result<(Reply, Reply), String> {
    let place = origin.locate(url).map_err(|error| error.to_string())?;
    let host = url.authority().map_or("", |authority| authority.as_str());
    let fresh = Request::get(place).header(http::header::HOST, host).body(http_body_util::Full::<Bytes>::default());
    Ok((web.get(url).await?, web.exchange(fresh.map_err(|error| error.to_string())?).await?))
}

fn same(cached: &Reply, fresh: &Reply) -> bool {
    let what = |reply: &Reply| -> (StatusCode, Bytes) { (reply.status, reply.body.clone()) };
    what(cached) == what(fresh)
}

fn told(url: &Uri, cached: &Reply, fresh: &Reply) -> String {
    let text = |reply: &Reply| format!("{} with {} bytes", reply.status.as_u16(), reply.body.len());
    format!("{url} is {} in the cache and {} at the origin", text(cached), text(fresh))
}
