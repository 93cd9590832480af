//! How fast a trail that grew while Neo4j was away gets there, and that all of it does.
//!
//! `cargo run --release -p ultimate-mcp-actors --example ship_drain -- [EVENTS] [BATCH]`, with a server named
//! by ULTIMATE_MCP_TEST_NEO4J and ULTIMATE_MCP_TEST_NEO4J_PASSWORD, which must hold nothing worth keeping.
//!
//! Fills a trail with EVENTS (200,000) of calls of 50 users, as tools record them, then ships it while calls
//! go on at about 100 a second, and counts what arrived.
#![allow(clippy::print_stdout, reason = "a tool that prints")]

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use ultimate_mcp_actors::audit::{
    AuditHandle, AuditKey, AuditOptions, EventType, Lines, NewEvent, Phase,
};
use ultimate_mcp_actors::authorization::{
    AuthorizationHandle, AuthorizationOptions, DEFAULT_POLICY, Policy,
};
use ultimate_mcp_actors::deadline::Deadline;
use ultimate_mcp_actors::ids::{CallId, CallerId, SessionId};
use ultimate_mcp_actors::neo4j::{Limits, Neo4jClient, Neo4jOptions, Params, Statement};
use ultimate_mcp_actors::node::NodeId;
use ultimate_mcp_actors::shipping::{ShippingHandle, ShippingOptions};
use ultimate_mcp_actors::supervision::{PolicyOptions, Supervisor, unobserved};

type Outcome = Result<(), Box<dyn std::error::Error>>;

fn main() -> Outcome {
    let mut arguments = std::env::args().skip(1);
    let events: usize = arguments.next().map_or(Ok(200_000), |text| text.parse())?;
    let batch: usize = arguments
        .next()
        .map_or(Ok(ShippingOptions::default().batch_events_max), |text| text.parse())?;
    let dir = std::env::temp_dir().join(format!("ship-drain-{}", std::process::id()));
    std::fs::create_dir_all(&dir)?;
    let measured = actix::System::new().block_on(measure(&dir, events, batch));
    std::fs::remove_dir_all(&dir)?;
    measured
}

async fn measure(dir: &Path, events: usize, batch: usize) -> Outcome {
    let (root, _exit) = Supervisor::root("drain", PolicyOptions::default(), unobserved())?;
    let options =
        AuditOptions { stdout: Lines::Off, copied_elsewhere: true, ..AuditOptions::default() };
    let key = AuditKey::from_bytes(&[7; 32]);
    let audit = AuditHandle::start(&root, &dir.join("audit.db"), key, options).await?;
    let policy = Policy::from_toml(DEFAULT_POLICY).map_err(|p| format!("{p:?}"))?;
    let roles = AuthorizationOptions::default();
    let (state, node) = (dir.join("state.db"), NodeId::random());
    let roles = AuthorizationHandle::start(&root, &state, policy, roles, node, None).await?;
    let client = client()?;
    empty(&client).await?;

    let began = Instant::now();
    let callers = (0..256).map(|caller| calls(&audit, caller, events / 512));
    join_all(callers).await.into_iter().collect::<Result<Vec<_>, _>>()?;
    println!("recorded {} events in {:.1?}", audit.stats().events, began.elapsed());

    let options = ShippingOptions { batch_events_max: batch, ..ShippingOptions::default() };
    let node = "bench".to_owned();
    let waiting = audit.stats().events;
    let began = Instant::now();
    let shipping =
        ShippingHandle::start(&root, audit.clone(), roles, client.clone(), options, 90, node)
            .await?;
    let mut told = Instant::now();
    loop {
        // Life goes on meanwhile.
        calls(&audit, 0, 1).await?;
        tokio::time::sleep(Duration::from_millis(10)).await;
        let status = shipping.status();
        if told.elapsed() > Duration::from_secs(5) {
            println!("{status:?}");
            told = Instant::now();
        }
        if status.shipped_seq.is_some() && status.lag_events < 1000 {
            break;
        }
    }
    let span = began.elapsed();
    let shipped = shipping.status().events_shipped;
    println!(
        "{waiting} waited; {shipped} shipped in {span:.1?}: {:.0} events/s",
        shipped as f64 / span.as_secs_f64()
    );
    while shipping.status().lag_events > 0 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let count = "MATCH (e:UmcpEvent) RETURN count(e) AS n, count(DISTINCT e.event_id) AS ids";
    let rows = client.read(count, Params::new(), Limits::default(), soon()).await?;
    println!(
        "recorded {}, in Neo4j {:?}, distinct {:?}",
        audit.stats().events,
        rows.int("n"),
        rows.int("ids")
    );
    empty(&client).await
}

fn client() -> Result<Neo4jClient, Box<dyn std::error::Error>> {
    let options = Neo4jOptions {
        uri: std::env::var("ULTIMATE_MCP_TEST_NEO4J")?,
        password: std::env::var("ULTIMATE_MCP_TEST_NEO4J_PASSWORD")?,
        connect_timeout_ms: 30_000,
        ..Neo4jOptions::default()
    };
    Ok(Neo4jClient::new(options, Arc::new(|_, _| {}))?)
}

async fn empty(client: &Neo4jClient) -> Outcome {
    let text = "MATCH (n) WITH n LIMIT 1000 DETACH DELETE n RETURN count(n) AS n";
    while client
        .write(vec![Statement::new(text)], soon(), true)
        .await?
        .first()
        .and_then(|rows| rows.int("n"))
        .unwrap_or(0)
        > 0
    {}
    Ok(())
}

/// So many calls, one after the other, as a tool that writes the graph records them.
async fn calls(audit: &AuditHandle, caller: usize, count: usize) -> Outcome {
    let user = format!("user-{}", caller % 50);
    for n in 0..count {
        let mut intent = NewEvent::new(EventType::GraphUpsert, Phase::Intent, "tools/call");
        intent.call_id = Some(CallId::new());
        intent.user_id = Some(CallerId::parse(&user)?);
        intent.tool = Some("graph_upsert".into());
        intent.ip_address = Some([127, 0, 0, 1].into());
        intent.user_agent = Some("python-httpx/0.28.1".into());
        intent.request_id = Some("0192f0c1-2f4e-7b61-9a53-3a1e5f1a2b3c".into());
        intent.session_id = SessionId::parse(&format!("session-{}", caller % 200)).ok();
        let mut outcome = intent.clone();
        outcome.phase = Phase::Outcome;
        outcome.success = Some(true);
        outcome.duration_ms = Some(1.25);
        outcome.details.insert("code_hash".into(), "a".repeat(64).into());
        let key = format!("paper:{}", (caller * 7 + n) % 5000);
        outcome.details.insert("touched".into(), serde_json::json!([key]));
        let intent = audit.append_deferred(intent, soon());
        let outcome = audit.append(outcome, soon());
        let (intent, outcome) = futures_util::join!(intent, outcome);
        intent?;
        outcome?;
    }
    Ok(())
}

fn soon() -> Deadline {
    Deadline::after(Duration::from_secs(60))
}
