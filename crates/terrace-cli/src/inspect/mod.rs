//! `terrace inspect`: what a fleet has in Redis, and whether it is of use.

mod entry;
mod namespace;
mod options;

pub(crate) use options::Options;

use crate::failure::Failure;
use crate::fleet::Fleet;
use crate::text::{Format, print, print_json};
use crate::walk::{Pace, Walk, total};
use entry::{Found, Sight};
use http::Request;
use terrace::Rules;

/// Looks.
///
/// # Errors
///
/// When Redis cannot be read.
pub(crate) fn main(options: &Options) -> Result<(), Failure> {
    let fleet = Fleet::open(options.timeout)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(Failure::runtime)?;
    let (json, text) = runtime.block_on(async {
        if let Some(url) = &options.url {
            let found = look(&fleet, url, options).await?;
            return Ok((found.json(), found.text()));
        }
        let state = namespace::look(&fleet, pace(options)).await?;
        Ok((state.json(), state.text()))
    })?;
    match options.output {
        Format::Json => print_json(&json),
        Format::Table => print(&text),
    }
}

fn pace(options: &Options) -> Pace {
    Pace { rate: options.rate, max_keys: Some(options.max_keys) }
}

/// First what one request would find, which is there at once; then everything else of the URL.
async fn look(fleet: &Fleet, url: &str, options: &Options) -> Result<Found, Failure> {
    let mut sights = Vec::new();
    if !url.starts_with('/') {
        let entries = fleet.store.inspect(&request(url, options)?, &Rules::new()).await.map_err(Failure::runtime)?;
        sights.extend(entries.into_iter().map(|entry| Sight { entry, by_request: true }));
    }
    let scan = fleet.store.scan_url(url).map_err(Failure::usage)?;
    let mut walk = Walk::new(scan, pace(options), total(fleet).await?);
    while let Some(keys) = walk.next().await? {
        for key in keys.iter().filter(|key| sights.iter().all(|known| known.entry.key != **key)).collect::<Vec<_>>() {
            let entry = fleet.store.inspect_key(key).await.map_err(Failure::runtime)?;
            sights.extend(entry.map(|entry| Sight { entry, by_request: false }));
        }
    }
    // What a request finds stays in the order in which it does.
    sights.sort_by_cached_key(|sight| {
        let key = &sight.entry.key;
        (!sight.by_request).then(|| (key.url(), key.selecting.len(), format!("{:?}", key.selecting)))
    });
    Ok(Found::new(fleet, url, sights, &walk))
}

fn request(url: &str, options: &Options) -> Result<Request<()>, Failure> {
    let mut request = Request::get(url);
    for (name, value) in &options.header {
        request = request.header(name, value);
    }
    request.body(()).map_err(Failure::usage)
}
