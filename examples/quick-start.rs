//! A shop's catalogue in a database, with queries that take tens of milliseconds, and a cache in front of it.
//!
//! `cargo run` starts it on port 3000, `cargo run -- 8080` or `PORT=8080 cargo run` on another one. It prints what to try.

use axum::extract::{Path, State};
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use axum::{Extension, Router};
use rusqlite::{Connection, OptionalExtension};
use std::error::Error;
use std::fmt::Display;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use terrace::admin::Admin;
use terrace::prometheus::MetricsHandle;
use terrace::{CacheLayer, CacheTags, Rules, Store};
use tokio::net::TcpListener;
use tokio::task::spawn_blocking;

#[tokio::main]
async fn main() -> ExitCode {
    let Err(error) = run().await else {
        return ExitCode::SUCCESS;
    };
    eprintln!("quick-start: {error}");
    ExitCode::FAILURE
}

async fn run() -> Result<(), Box<dyn Error>> {
    let listener = listen(port()?).await?;
    let metrics = terrace::prometheus::install()?;
    let store = Store::memory();
    let shop = Shop { database: Arc::new(Mutex::new(open_catalogue()?)), store: store.clone() };

    let rules = Rules::new().default_ttl(Duration::from_secs(60));
    let cache = CacheLayer::new(store.clone()).rules(rules.clone());
    let app = Router::new()
        .route("/products/{id}", get(product).put(set_price))
        .route("/search/{word}", get(search))
        .layer(cache)
        .with_state(shop)
        // Added after the cache, so not in it.
        .route("/metrics", get(move || render(metrics.clone())))
        // For whoever is on this machine; elsewhere `token` is the way.
        .nest_service("/terrace", Admin::new(store).rules(rules).loopback_only());

    greet(&format!("http://{}", listener.local_addr()?));
    // With the address of each connection, by which the admin routes know this machine.
    axum::serve(listener, app.into_make_service_with_connect_info::<SocketAddr>()).await?;
    Ok(())
}

#[derive(Clone)]
struct Shop {
    database: Arc<Mutex<Connection>>,
    store: Store,
}

type Failure = (StatusCode, String);

fn internal(error: impl Display) -> Failure {
    (StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n"))
}

impl Shop {
    /// The database works on a thread that may block.
    async fn ask<T: Send + 'static>(
        &self,
        query: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, Failure> {
        let database = Arc::clone(&self.database);
        let answer = spawn_blocking(move || query(&database.lock().unwrap_or_else(PoisonError::into_inner))).await;
        answer.map_err(internal)?.map_err(internal)
    }
}

fn open_catalogue() -> rusqlite::Result<Connection> {
    let database = Connection::open_in_memory()?;
    database.execute_batch(include_str!("catalogue.sql"))?;
    Ok(database)
}

/// A product, what its buyers think of it, and how it ranks among its kind.
const PRODUCT: &str = "
    WITH ranked AS (
        SELECT p.id, avg(r.stars) AS stars, count(*) AS reviews,
               rank() OVER (PARTITION BY p.category ORDER BY avg(r.stars) DESC) AS rank
        FROM product p JOIN review r ON r.product = p.id GROUP BY p.id)
    SELECT json_object('id', id, 'name', name, 'price', price, 'stars', round(stars, 2), 'reviews', reviews, 'rank', rank)
    FROM product JOIN ranked USING (id) WHERE id = ?1";

async fn product(State(shop): State<Shop>, Path(id): Path<u32>) -> Result<impl IntoResponse, Failure> {
    let found = shop.ask(move |db| db.query_row(PRODUCT, [id], |row| row.get(0)).optional()).await?;
    let json: String = found.ok_or_else(|| unknown(id))?;
    Ok((tagged([id]), JSON, json))
}

/// The products about which a word is said most often. The word is quoted, for it may contain what FTS5 takes as syntax.
const SEARCH: &str = r#"
    SELECT p.id, json_object('id', p.id, 'name', p.name, 'price', p.price, 'mentions', count(*))
    FROM review_text t JOIN review r ON r.id = t.rowid JOIN product p ON p.id = r.product
    WHERE t.text MATCH '"' || replace(?1, '"', '""') || '"'
    GROUP BY p.id ORDER BY count(*) DESC, p.id LIMIT 10"#;

async fn search(State(shop): State<Shop>, Path(word): Path<String>) -> Result<impl IntoResponse, Failure> {
    let rows = move |db: &Connection| {
        let mut search = db.prepare(SEARCH)?;
        search.query_map([word], |row| Ok((row.get(0)?, row.get(1)?)))?.collect()
    };
    let found: Vec<(u32, String)> = shop.ask(rows).await?;
    let (ids, products): (Vec<u32>, Vec<String>) = found.into_iter().unzip();
    Ok((tagged(ids), JSON, format!("[{}]", products.join(","))))
}

/// Every answer that shows the product is purged, whatever its URL.
async fn set_price(State(shop): State<Shop>, Path(id): Path<u32>, price: String) -> Result<StatusCode, Failure> {
    let malformed = |_| (StatusCode::BAD_REQUEST, format!("a price is a whole number of cents, not {price:?}\n"));
    let price: u32 = price.parse().map_err(malformed)?;
    let changed = shop.ask(move |db| db.execute("UPDATE product SET price = ?2 WHERE id = ?1", [id, price])).await?;
    if changed == 0 {
        return Err(unknown(id));
    }
    shop.store.purge_tag(&tag(id)).await.map(|_| StatusCode::NO_CONTENT).map_err(internal)
}

const JSON: [(header::HeaderName, &str); 1] = [(header::CONTENT_TYPE, "application/json")];

fn unknown(id: u32) -> Failure {
    (StatusCode::NOT_FOUND, format!("there is no product {id}\n"))
}

fn tag(id: u32) -> String {
    format!("product:{id}")
}

/// Tells the cache which products an answer shows.
fn tagged(ids: impl IntoIterator<Item = u32>) -> Extension<CacheTags> {
    Extension(ids.into_iter().fold(CacheTags::new(), |tags, id| tags.with(tag(id))))
}

async fn render(metrics: MetricsHandle) -> Result<impl IntoResponse, Failure> {
    let text = spawn_blocking(move || metrics.render()).await.map_err(internal)?;
    Ok(([(header::CONTENT_TYPE, terrace::prometheus::CONTENT_TYPE)], text))
}

/// From the first argument, else from `PORT`.
fn port() -> Result<u16, String> {
    let Some(port) = std::env::args_os().nth(1).or_else(|| std::env::var_os("PORT")) else {
        return Ok(3000);
    };
    let port = port.to_string_lossy();
    port.parse().map_err(|_| format!("the port must be a number from 0 to 65535, not {port:?}"))
}

async fn listen(port: u16) -> Result<TcpListener, String> {
    let listener = TcpListener::bind(("127.0.0.1", port)).await;
    listener.map_err(|error| format!("cannot listen on 127.0.0.1:{port}: {error}; for another port: cargo run -- 8080"))
}

fn greet(url: &str) {
    println!(
        "listening on {url}

Run each of these twice. SQLite works for the first answer (fwd=uri-miss), the cache gives the second (hit, Age):
  curl -i {url}/products/7
  curl -i {url}/search/sturdy

A new price purges every answer that shows the product, so that the next one is a miss again:
  curl -i -X PUT -d 1999 {url}/products/7

What the cache does, for Prometheus:
  curl {url}/metrics

And for you: {url}/terrace/ in a browser, or
  curl {url}/terrace/stats"
    );
}
