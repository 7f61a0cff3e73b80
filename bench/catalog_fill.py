"""A catalog of any size, generated inside PostgreSQL: what clients would take days to push."""

from tests.support.postgresql import run_sql

REPOSITORIES = 100
MEDIA_TYPE = "application/vnd.oci.image.manifest.v1+json"
FIRST_ID = 1_000_000

_SQL = """
set session_replication_role = replica;
set maintenance_work_mem = '256MB';
create temporary table taken as
  select pg_get_indexdef(i.indexrelid) as definition, i.indexrelid::regclass::text as name from pg_index i
  where i.indrelid in ('blob'::regclass, 'repo_blob'::regclass, 'manifest'::regclass,
    'manifest_blob'::regclass, 'tag'::regclass)
  and not exists (select 1 from pg_constraint c where c.conindid = i.indexrelid);
do $$ declare one record; begin
  for one in select * from taken loop execute 'drop index ' || one.name; end loop; end $$;
insert into project (id, name, visibility, created_at) values ({first}, 'big', 'public', 1);
insert into repo (id, project_id, name, created_at)
  select {first} + n, {first}, 'big/r' || n, 1 from generate_series(0, {repositories} - 1) n;
create unlogged table made (n bigint, digest text collate "C");
insert into made
  select n, 'sha256:' || encode(sha256(('blob ' || n)::bytea), 'hex') from generate_series(1, {all_blobs}) n;
create index on made (n);
insert into blob (digest, phys, size, state, lease_until, created_at)
  select digest,
    'blobs/' || md5('p' || n) || '/00000000000000000000.' || substr(md5('q' || n), 1, 16),
    1000, 'live', 1, 1 from made;
insert into repo_blob (repo_id, digest, linked_at)
  select {first} + ((n - 1) / 3) % {repositories}, digest, 1 from made where n <= {blobs};
create unlogged table body (n bigint, body bytea, digest text collate "C");
insert into body (n, body)
  select a.n / 3, convert_to(jsonb_build_object(
    'schemaVersion', 2,
    'mediaType', '{media_type}',
    'config', jsonb_build_object(
      'mediaType', 'application/vnd.oci.image.config.v1+json', 'size', 1000, 'digest', a.digest),
    'layers', jsonb_build_array(
      jsonb_build_object(
        'mediaType', 'application/vnd.oci.image.layer.v1.tar', 'size', 1000, 'digest', b.digest),
      jsonb_build_object(
        'mediaType', 'application/vnd.oci.image.layer.v1.tar', 'size', 1000, 'digest', c.digest)
    ))::text, 'UTF8')
  from made a join made b on b.n = a.n - 1 join made c on c.n = a.n - 2
  where a.n % 3 = 0 and a.n <= {blobs};
update body set digest = 'sha256:' || encode(sha256(body), 'hex');
insert into manifest (id, repo_id, digest, media_type, size, total_size, pushed_at, pushed_by, body)
  select {first} + n, {first} + (n - 1) % {repositories}, digest, '{media_type}', length(body), 3000, 1,
    'bench', body from body;
insert into manifest_blob (manifest_id, digest, repo_id)
  select {first} + (n - 1) / 3 + 1, digest, {first} + ((n - 1) / 3) % {repositories}
  from made where n <= {blobs};
insert into tag (repo_id, name, digest, created_at, updated_at, updated_by)
  select {first} + (n - 1) % {repositories}, 'v' || n, digest, 1, 1, 'bench' from body;
drop table made;
drop table body;
do $$ declare one record; begin
  for one in select * from taken loop execute one.definition; end loop; end $$;
set session_replication_role = origin;
select setval(pg_get_serial_sequence('project', 'id'), {first} * 100);
select setval(pg_get_serial_sequence('repo', 'id'), {first} * 100);
select setval(pg_get_serial_sequence('manifest', 'id'), {first} * 100);
vacuum analyze
"""


def fill(port: int, database: str, tags: int, *, dead: int = 0) -> None:
    """`tags` tags `v<n>` in `big/r<(n - 1) % 100>`, each an image of three blobs of its own; `dead` blobs
    more that nothing links and whose lease is over. The bytes of blobs are not there.

    Indexes that no constraint needs are made afterwards, and foreign keys are not checked: it is quicker.
    """
    sql = _SQL.format(
        first=FIRST_ID,
        repositories=REPOSITORIES,
        media_type=MEDIA_TYPE,
        blobs=3 * tags,
        all_blobs=3 * tags + dead,
    )
    run_sql(port, *(statement.strip() for statement in sql.split(";\n")), database=database)


def add_dead(port: int, database: str, count: int, name: str) -> None:
    """`count` more blobs that nothing links; `name` makes them others than those of another call."""
    made = f"select 'dead {name} ' || n as seed from generate_series(1, {count}) n"
    run_sql(
        port,
        "insert into blob (digest, phys, size, state, lease_until, created_at)"
        " select 'sha256:' || encode(sha256(seed::bytea), 'hex'),"
        " 'blobs/' || md5('p' || seed) || '/00000000000000000000.' || substr(md5('q' || seed), 1, 16),"
        f" 1000, 'live', 1, 1 from ({made}) made",
        "vacuum analyze blob",
        database=database,
    )
