//! The statements that shipping sends. Every one finds what it works on by an index or constraint; a test
//! asks the server for the plan of each.
//!
//! `ON CREATE` only: an event that is sent again changes nothing, so that a replay cannot bring back what
//! was erased from the copy.

/// Events; `rows` are maps of their properties.
pub(super) const EVENTS: &str = "\
    UNWIND $rows AS row MERGE (e:UmcpEvent {event_id: row.event_id}) \
    ON CREATE SET e:AuditEvent, e += row";
/// Events that cannot be there yet: the cursor says so, in the transaction that moved it. Were they there
/// all the same, the constraint refuses the batch, and [`EVENTS`] follows.
pub(super) const NEW_EVENTS: &str = "\
    UNWIND $rows AS row CREATE (e:UmcpEvent:AuditEvent) SET e = row";
/// Calls that cannot be there yet, with their links; whom and what they name is there by then. Each call
/// is at hand as it is made, where the statements below must find it once per link.
pub(super) const NEW_EXECUTIONS: &str = "\
    UNWIND $rows AS row CREATE (x:UmcpExecution:Execution) SET x = row.call \
    WITH x, row \
    OPTIONAL MATCH (u:UmcpUser {user_id: row.user}) \
    OPTIONAL MATCH (s:UmcpSession {session_id: row.session}) \
    OPTIONAL MATCH (t:UmcpTrace {trace_id: row.trace}) \
    FOREACH (_ IN CASE WHEN u IS NULL THEN [] ELSE [1] END | CREATE (u)-[:RAN]->(x)) \
    FOREACH (_ IN CASE WHEN s IS NULL THEN [] ELSE [1] END | CREATE (x)-[:IN_SESSION]->(s)) \
    FOREACH (_ IN CASE WHEN t IS NULL THEN [] ELSE [1] END | CREATE (x)-[:IN_TRACE]->(t)) \
    WITH x, row \
    CALL { WITH x, row \
      UNWIND row.produced AS id MATCH (a:UmcpArtifact {id: id}) CREATE (x)-[:PRODUCED]->(a) \
    } \
    CALL { WITH x, row \
      UNWIND row.touched AS key MATCH (d:UmcpData {key: key}) CREATE (x)-[:TOUCHED]->(d) \
    }";
/// Calls that ended.
pub(super) const EXECUTIONS: &str = "\
    UNWIND $rows AS row MERGE (x:UmcpExecution {call_id: row.call_id}) \
    ON CREATE SET x:Execution, x += row";
/// Who is named in a batch.
pub(super) const USERS: &str = "\
    UNWIND $rows AS row MERGE (u:UmcpUser {user_id: row}) ON CREATE SET u:User";
/// Sessions named in a batch.
pub(super) const SESSIONS: &str = "\
    UNWIND $rows AS row MERGE (s:UmcpSession {session_id: row}) ON CREATE SET s:Session";
/// Traces named in a batch.
pub(super) const TRACES: &str = "\
    UNWIND $rows AS row MERGE (t:UmcpTrace {trace_id: row}) ON CREATE SET t:Trace";
/// Artifacts named in a batch.
pub(super) const ARTIFACTS: &str = "\
    UNWIND $rows AS row MERGE (a:UmcpArtifact {id: row.id}) ON CREATE SET a:Artifact, a += row";
/// Data named in a batch.
pub(super) const DATA: &str = "\
    UNWIND $rows AS row MERGE (d:UmcpData {key: row}) ON CREATE SET d:DataRef";
/// From person to call.
pub(super) const RAN: &str = "\
    UNWIND $rows AS row MATCH (x:UmcpExecution {call_id: row.call}) \
    MATCH (u:UmcpUser {user_id: row.to}) MERGE (u)-[:RAN]->(x)";
/// From call to session.
pub(super) const IN_SESSION: &str = "\
    UNWIND $rows AS row MATCH (x:UmcpExecution {call_id: row.call}) \
    MATCH (s:UmcpSession {session_id: row.to}) MERGE (x)-[:IN_SESSION]->(s)";
/// From call to trace.
pub(super) const IN_TRACE: &str = "\
    UNWIND $rows AS row MATCH (x:UmcpExecution {call_id: row.call}) \
    MATCH (t:UmcpTrace {trace_id: row.to}) MERGE (x)-[:IN_TRACE]->(t)";
/// From call to artifact.
pub(super) const PRODUCED: &str = "\
    UNWIND $rows AS row MATCH (x:UmcpExecution {call_id: row.call}) \
    MATCH (a:UmcpArtifact {id: row.to}) MERGE (x)-[:PRODUCED]->(a)";
/// From call to data.
pub(super) const TOUCHED: &str = "\
    UNWIND $rows AS row MATCH (x:UmcpExecution {call_id: row.call}) \
    MATCH (d:UmcpData {key: row.to}) MERGE (x)-[:TOUCHED]->(d)";

/// How far a trail has been shipped; moves with the batch, in its transaction, and never back.
pub(super) const MOVE_CURSOR: &str = "\
    MERGE (c:UmcpCursor {trail_id: $trail}) \
    SET c.node_id = $node, c.shipped_at = datetime(), \
        c.hash = CASE WHEN coalesce(c.seq, -1) < $seq THEN $hash ELSE c.hash END, \
        c.seq = CASE WHEN coalesce(c.seq, -1) < $seq THEN $seq ELSE c.seq END";
/// How far a trail has been shipped.
pub(super) const READ_CURSOR: &str =
    "MATCH (c:UmcpCursor {trail_id: $trail}) RETURN c.seq AS seq, c.hash AS hash";
/// Forgets how far: the file was put back to an earlier state.
pub(super) const DROP_CURSOR: &str = "MATCH (c:UmcpCursor {trail_id: $trail}) DELETE c";

/// Stored roles of users, exactly these.
pub(super) const ROLES: &str = "\
    UNWIND $rows AS row MERGE (u:UmcpUser {user_id: row.user}) ON CREATE SET u:User \
    WITH u, row \
    CALL { WITH u, row \
      MATCH (u)-[old:HAS_ROLE]->(r:UmcpRole) WHERE NOT r.name IN row.roles DELETE old \
    } \
    WITH u, row UNWIND row.roles AS name \
    MERGE (r:UmcpRole {name: name}) ON CREATE SET r:Role \
    MERGE (u)-[h:HAS_ROLE]->(r) SET h.node_id = $node";
/// Users that the store no longer knows.
pub(super) const NO_ROLES: &str = "\
    UNWIND $rows AS row MATCH (u:UmcpUser {user_id: row})-[old:HAS_ROLE]->() DELETE old";
/// Users whose roles this node wrote.
pub(super) const ROLE_HOLDERS: &str = "\
    MATCH (r:UmcpRole)<-[h:HAS_ROLE]-(u:UmcpUser) WHERE h.node_id = $node \
    RETURN DISTINCT u.user_id AS user";

/// Erases who did it from events, a page at a time.
pub(super) const ERASE_EVENTS: &str = "\
    MATCH (e:UmcpEvent {user_id: $user}) WITH e LIMIT $max SET e.erased = true \
    REMOVE e.user_id, e.ip_address, e.user_agent, e.session_id RETURN count(e) AS n";
/// Removes an erased person's sessions, a page at a time.
pub(super) const ERASE_SESSIONS: &str = "\
    MATCH (:UmcpUser {user_id: $user})-[:RAN]->(:UmcpExecution)-[:IN_SESSION]->(s:UmcpSession) \
    WITH DISTINCT s LIMIT $max DETACH DELETE s RETURN count(s) AS n";
/// Cuts an erased person off from the calls, a page at a time.
pub(super) const ERASE_RAN: &str = "\
    MATCH (:UmcpUser {user_id: $user})-[r:RAN]->() WITH r LIMIT $max DELETE r RETURN count(r) AS n";
/// Removes an erased person.
pub(super) const ERASE_USER: &str = "MATCH (u:UmcpUser {user_id: $user}) DETACH DELETE u";
/// Replaces events whose content was changed for an erasure.
pub(super) const REPLACE_EVENTS: &str = "\
    UNWIND $rows AS row MATCH (e:UmcpEvent {event_id: row.event_id}) SET e = row";
/// Cuts calls off from data whose names may have been erased; the batch's links follow anew.
pub(super) const UNLINK_DATA: &str = "\
    UNWIND $rows AS row MATCH (:UmcpExecution {call_id: row})-[t:TOUCHED]->(d:UmcpData) \
    DELETE t WITH DISTINCT d WHERE NOT EXISTS { (d)<-[:TOUCHED]-() } DELETE d";

/// Removes events that retention no longer keeps, a page at a time.
pub(super) const TIDY_EVENTS: &str = "\
    MATCH (e:UmcpEvent) WHERE e.ts < $before WITH e LIMIT $max DETACH DELETE e \
    RETURN count(*) AS n";
/// Removes calls that retention no longer keeps, a page at a time, and what hung on nothing else.
pub(super) const TIDY_EXECUTIONS: &str = "\
    MATCH (x:UmcpExecution) WHERE x.ts < $before WITH x LIMIT $max \
    OPTIONAL MATCH (x)-[:IN_SESSION|IN_TRACE|PRODUCED|TOUCHED]->(o) \
    WITH collect(DISTINCT x) AS calls, collect(DISTINCT o) AS others \
    FOREACH (x IN calls | DETACH DELETE x) \
    WITH size(calls) AS n, others \
    CALL { WITH others UNWIND others AS o WITH o WHERE NOT EXISTS { (o)--() } DELETE o } \
    RETURN n";

/// Who ran what on which data: the one question the model was made for (docs/audit.md).
#[cfg(test)]
pub(super) const WHO_RAN_WHAT: &str = "\
    MATCH (d:DataRef:UmcpData {key: $key})<-[:TOUCHED]-(x:Execution)<-[:RAN]-(u:User) \
    OPTIONAL MATCH (x)-[:IN_SESSION]->(s:Session) \
    OPTIONAL MATCH (x)-[:IN_TRACE]->(t:Trace) \
    OPTIONAL MATCH (x)-[:PRODUCED]->(a:Artifact) \
    RETURN u.user_id AS who, [(u)-[:HAS_ROLE]->(r:Role) | r.name] AS roles, x.tool AS what, \
           x.timestamp AS at, x.success AS success, d.key AS data, s.session_id AS session, \
           t.trace_id AS trace, collect(a.sha256) AS artifacts \
    ORDER BY at DESC LIMIT 100";
