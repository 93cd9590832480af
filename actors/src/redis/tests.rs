//! What the client promises, against real servers.

use std::time::{Duration, Instant};

use ultimate_mcp_testkit::{Proxy, Redis, RedisCluster, RedisSentinels, TlsFront};

use super::redis::{cmd, pipe};
use super::*;
use crate::testing::soon;

fn options(urls: Vec<String>) -> RedisOptions {
    RedisOptions { urls, command_timeout_ms: 300, connect_timeout_ms: 500, ..Default::default() }
}

fn client(options: RedisOptions) -> RedisClient {
    RedisClient::new(options, Arc::new(|_: &str, _| {})).unwrap()
}

fn single(redis: &Redis) -> RedisClient {
    client(options(vec![redis.url()]))
}

async fn set(client: &RedisClient, key: &str, value: &str) -> Result<(), RedisError> {
    client.run(soon(), true, cmd("SET").arg(client.key(&[key])).arg(value)).await
}

async fn get(client: &RedisClient, key: &str) -> Result<Option<String>, RedisError> {
    client.run(soon(), true, cmd("GET").arg(client.key(&[key]))).await
}

/// Until it works, without restarting anything.
async fn recovers(client: &RedisClient) -> Duration {
    let started = Instant::now();
    while set(client, "recovered", "yes").await.is_err() {
        assert!(started.elapsed() < Duration::from_secs(20), "{:?}", client.health());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    started.elapsed()
}

#[actix::test]
async fn who_can_do_without_waits_once_for_a_silent_redis_and_asks_again_when_it_is_quick() {
    let redis = Redis::start();
    let patience = Duration::from_millis(200);
    let slow = RedisOptions { command_timeout_ms: 20_000, ..options(vec![redis.url()]) };
    let client = client(RedisOptions { patience_ms: 200, ..slow });
    let key = client.key(&["a"]);
    let mut command = cmd("GET");
    command.arg(&key);
    let ask = || client.promptly(|deadline| client.run::<Option<String>>(deadline, true, &command));
    recovers(&client).await;
    assert_eq!(ask().await.unwrap(), None);
    redis.pause();
    let asked = Instant::now();
    assert!(matches!(ask().await, Err(RedisError::Deadline)));
    assert!(asked.elapsed() >= patience && asked.elapsed() < patience * 20);
    for _ in 0..20 {
        assert!(matches!(ask().await, Err(RedisError::NotAsked { .. })), "nobody waits again");
    }
    redis.resume();
    let resumed = Instant::now();
    while ask().await.is_err() {
        assert!(resumed.elapsed() < Duration::from_secs(20), "{:?}", client.health());
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[actix::test]
async fn commands_pipelines_and_scripts_work_and_scripts_survive_a_flush() {
    let redis = Redis::start();
    let client = single(&redis);
    set(&client, "a", "1").await.unwrap();
    assert_eq!(get(&client, "a").await.unwrap().as_deref(), Some("1"));
    assert_eq!(redis.cli(&["get", "ump:a"]), "1", "keys carry the prefix");

    let mut both = pipe();
    both.atomic().cmd("INCR").arg("ump:n").cmd("INCR").arg("ump:n");
    let (one, two): (i64, i64) = client.pipeline(soon(), false, &both).await.unwrap();
    assert_eq!((one, two), (1, 2));

    let script = Script::new("return redis.call('INCRBY', KEYS[1], ARGV[1])");
    let key = client.key(&["n"]);
    let keys = [key.as_str()];
    let add = || client.script::<i64>(soon(), false, &script, &keys, 10);
    assert_eq!(add().await.unwrap(), 12);
    redis.cli(&["script", "flush"]);
    assert_eq!(add().await.unwrap(), 22);

    let wrong = client.run::<i64>(soon(), true, cmd("LPUSH").arg("ump:a").arg(1)).await;
    let error = wrong.unwrap_err();
    assert!(matches!(error, RedisError::Command(_)) && !error.is_outage(), "{error:?}");
}

#[actix::test]
async fn a_server_that_is_absent_at_start_is_found_when_it_comes() {
    let mut redis = Redis::start();
    redis.kill();
    let client = single(&redis);
    let error = set(&client, "a", "1").await.unwrap_err();
    assert!(error.is_outage(), "{error:?}");
    assert_ne!(client.health().up, Some(true));
    redis.restart();
    recovers(&client).await;
    tokio::time::timeout(Duration::from_secs(5), client.up()).await.unwrap();
}

#[actix::test]
async fn certificates_and_passwords_that_are_replaced_are_read_for_the_next_connection() {
    let redis = Redis::start_with(&["--requirepass", "first password"]);
    let front = TlsFront::start(redis.port());
    let folder = tempfile::TempDir::new().unwrap();
    let (ca_file, password_file) = (folder.path().join("ca"), folder.path().join("password"));
    std::fs::write(&ca_file, front.certificate("first")).unwrap();
    std::fs::write(&password_file, "first password\n").unwrap();
    let urls = vec![format!("rediss://127.0.0.1:{}", front.port())];
    let client = client(RedisOptions {
        ca_file: ca_file.clone(),
        password_file: password_file.clone(),
        ..options(urls)
    });
    set(&client, "a", "1").await.unwrap();

    redis.cli(&["config", "set", "requirepass", "second password"]);
    front.make("second");
    front.serve("second");
    let error = set(&client, "a", "2").await.unwrap_err();
    assert!(error.is_outage(), "a certificate nobody vouched for: {error:?}");
    std::fs::write(&ca_file, front.certificate("second")).unwrap();
    std::fs::write(&password_file, "second password\n").unwrap();
    recovers(&client).await;
    assert_eq!(get(&client, "a").await.unwrap().as_deref(), Some("1"));
}

#[actix::test]
async fn a_wrong_password_is_told_apart_and_a_right_one_lets_in() {
    let redis = Redis::start_with(&["--requirepass", "right"]);
    let with = |password: &str| {
        let password = Password::from(password);
        client(RedisOptions { password, ..options(vec![redis.url()]) })
    };
    for wrong in ["", "wrong"] {
        let error = set(&with(wrong), "a", "1").await.unwrap_err();
        assert!(matches!(error, RedisError::Credentials(_)), "{error:?}");
    }
    set(&with("right"), "a", "1").await.unwrap();
}

#[actix::test]
async fn a_killed_server_is_found_again() {
    let mut redis = Redis::start();
    let client = single(&redis);
    set(&client, "a", "1").await.unwrap();
    redis.kill();
    assert!(set(&client, "a", "2").await.unwrap_err().is_outage());
    redis.restart();
    recovers(&client).await;
    assert_eq!(get(&client, "a").await.unwrap().as_deref(), Some("1"));
}

#[actix::test]
async fn no_call_hangs_on_a_stopped_server_and_it_is_used_again_when_it_goes_on() {
    let redis = Redis::start();
    let client = single(&redis);
    set(&client, "a", "1").await.unwrap();
    redis.pause();
    for _ in 0..5 {
        let asked = Instant::now();
        assert!(get(&client, "a").await.unwrap_err().is_outage());
        assert!(asked.elapsed() < Duration::from_secs(2), "{:?}", asked.elapsed());
    }
    // By now it is not asked any more, and that costs next to nothing.
    let asked = Instant::now();
    for _ in 0..100 {
        let error = get(&client, "a").await.unwrap_err();
        assert!(error.is_outage(), "{error:?}");
    }
    assert!(asked.elapsed() < Duration::from_secs(1), "{:?}", asked.elapsed());
    redis.resume();
    recovers(&client).await;
}

#[actix::test]
async fn no_call_hangs_on_a_connection_that_is_cut_stalled_or_slow() {
    let redis = Redis::start();
    let proxy = Proxy::to(redis.port());
    let url = format!("redis://127.0.0.1:{}", proxy.port());
    let client = client(options(vec![url]));
    set(&client, "a", "1").await.unwrap();
    let faults: [&dyn Fn(); 3] =
        [&|| proxy.cut(), &|| proxy.stall(), &|| proxy.delay(Duration::from_secs(2))];
    for fault in faults {
        fault();
        for _ in 0..3 {
            let asked = Instant::now();
            assert!(get(&client, "a").await.is_err());
            assert!(asked.elapsed() < Duration::from_secs(2), "{:?}", asked.elapsed());
        }
        proxy.heal();
        recovers(&client).await;
    }
}

#[actix::test]
async fn a_subscription_hears_tells_when_it_was_deaf_and_hears_again() {
    let mut redis = Redis::start();
    let client = single(&redis);
    let channel = client.key(&["news"]);
    let mut heard = client.subscribe(vec![channel.clone()]);
    let next = async |heard: &mut Subscription| {
        tokio::time::timeout(Duration::from_secs(10), heard.next()).await.unwrap().unwrap()
    };
    assert_eq!(next(&mut heard).await, Notice::Gained);
    let publish = async |text: &str| {
        client.run::<i64>(soon(), false, cmd("PUBLISH").arg(&channel).arg(text)).await.unwrap()
    };
    assert_eq!(publish("one").await, 1);
    let message = |text: &str| Notice::Message {
        channel: channel.clone(),
        payload: text.as_bytes().to_vec(),
    };
    assert_eq!(next(&mut heard).await, message("one"));
    redis.kill();
    assert_eq!(next(&mut heard).await, Notice::Lost);
    redis.restart();
    assert_eq!(next(&mut heard).await, Notice::Gained);
    recovers(&client).await;
    publish("two").await;
    assert_eq!(next(&mut heard).await, message("two"));

    // Half-open: nothing is closed, nothing comes.
    redis.pause();
    assert_eq!(next(&mut heard).await, Notice::Lost);
    redis.resume();
    assert_eq!(next(&mut heard).await, Notice::Gained);
}

#[actix::test]
async fn a_blocking_command_blocks_nobody_else() {
    let redis = Redis::start();
    let client = single(&redis);
    let mut own = client.dedicated(soon(), Duration::from_secs(5)).await.unwrap();
    let waiting = actix_rt::spawn(async move {
        own.run::<Option<(String, String)>>(cmd("BLPOP").arg("ump:list").arg(5)).await
    });
    set(&client, "a", "1").await.unwrap();
    client.run::<i64>(soon(), false, cmd("LPUSH").arg("ump:list").arg("x")).await.unwrap();
    assert_eq!(waiting.await.unwrap().unwrap().unwrap().1, "x");
}

#[actix::test]
async fn the_master_the_sentinels_name_is_followed_after_a_failover() {
    let mut sentinels = RedisSentinels::start();
    let client = client(RedisOptions {
        mode: RedisMode::Sentinel,
        master_name: RedisSentinels::MASTER.to_owned(),
        ..options(sentinels.urls())
    });
    set(&client, "a", "1").await.unwrap();
    sentinels.master.kill();
    recovers(&client).await;
    assert_eq!(sentinels.replica.cli(&["get", "ump:recovered"]), "yes");
}

#[actix::test]
async fn a_moved_slot_is_followed_in_a_cluster_and_every_slot_is_served() {
    let cluster = RedisCluster::start();
    let options = RedisOptions { mode: RedisMode::Cluster, ..options(cluster.urls()) };
    let client = client(options);
    for n in 0..50 {
        set(&client, &format!("k{n}"), "1").await.unwrap();
    }
    // Slots move behind the client's back; half of one is asked for while it moves.
    let slot = cluster.nodes[0].cli(&["cluster", "keyslot", "ump:{moving}:a"]);
    let id = |node: usize| cluster.nodes[node].cli(&["cluster", "myid"]);
    let owner = (0..3)
        .find(|&n| cluster.nodes[n].cli(&["get", "ump:{moving}:a"]).find("MOVED").is_none())
        .unwrap();
    let target = (owner + 1) % 3;
    set(&client, "{moving}:a", "before").await.unwrap();
    cluster.nodes[target].cli(&["cluster", "setslot", &slot, "importing", &id(owner)]);
    cluster.nodes[owner].cli(&["cluster", "setslot", &slot, "migrating", &id(target)]);
    assert_eq!(get(&client, "{moving}:b").await.unwrap(), None, "ASK is followed");
    set(&client, "{moving}:b", "asked").await.unwrap();
    let port = cluster.nodes[target].port().to_string();
    let moved =
        cluster.nodes[owner].cli(&["migrate", "127.0.0.1", &port, "ump:{moving}:a", "0", "5000"]);
    assert_eq!(moved, "OK");
    for node in &cluster.nodes {
        node.cli(&["cluster", "setslot", &slot, "node", &id(target)]);
    }
    assert_eq!(get(&client, "{moving}:a").await.unwrap().as_deref(), Some("before"));
    assert_eq!(get(&client, "{moving}:b").await.unwrap().as_deref(), Some("asked"));
}

#[actix::test]
async fn a_cluster_node_that_stops_or_dies_costs_only_its_slots() {
    let mut cluster = RedisCluster::start();
    let options = RedisOptions { mode: RedisMode::Cluster, ..options(cluster.urls()) };
    let client = client(options);
    for node in &cluster.nodes {
        // Else the servers refuse every slot when one is not served.
        node.cli(&["config", "set", "cluster-require-full-coverage", "no"]);
    }
    let mut of_node: [Vec<String>; 3] = Default::default();
    for n in 0..60 {
        let key = format!("k{n}");
        set(&client, &key, "1").await.unwrap();
        let full = format!("ump:{key}");
        let owner = (0..3).find(|&node| cluster.nodes[node].cli(&["exists", &full]) == "1");
        of_node[owner.unwrap()].push(key);
    }
    cluster.nodes[1].pause();
    for round in 0..5 {
        let asked = Instant::now();
        assert!(get(&client, &of_node[1][0]).await.is_err());
        assert!(asked.elapsed() < Duration::from_secs(1), "{:?}", asked.elapsed());
        for key in [&of_node[0][..8], &of_node[2][..8]].concat() {
            let asked = Instant::now();
            let answer = get(&client, &key).await;
            assert_eq!(answer.unwrap().as_deref(), Some("1"), "{key} in round {round}");
            // Now and then one waits while the slots are asked for anew, of the stopped node too.
            assert!(asked.elapsed() < Duration::from_millis(700), "{:?}", asked.elapsed());
        }
    }
    cluster.nodes[1].resume();
    recovers(&client).await;
    cluster.nodes[2].kill();
    let _ = get(&client, &of_node[2][0]).await;
    for key in &of_node[0][..8] {
        assert_eq!(get(&client, key).await.unwrap().as_deref(), Some("1"), "{key}");
    }
    cluster.nodes[2].restart();
    let started = Instant::now();
    while get(&client, &of_node[2][0]).await.ok().flatten().is_none() {
        assert!(started.elapsed() < Duration::from_secs(20));
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
