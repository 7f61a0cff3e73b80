"""The servers tests share do start, answer and keep tests apart."""

import obstore
from obstore.store import S3Store

from tests.support.dockerd import Docker
from tests.support.postgresql import run_sql
from tests.support.seaweedfs import S3Location


def test_a_database_is_empty_and_the_tests_own(postgresql_port: int, postgresql_url: str) -> None:
    database = postgresql_url.rpartition("/")[2]
    count = "select count(*) from information_schema.tables where table_schema = 'public'"
    assert run_sql(postgresql_port, count, database=database).strip() == "0"


def test_an_object_written_is_read_back(s3_location: S3Location) -> None:
    store = S3Store(
        s3_location.bucket,
        prefix=s3_location.prefix,
        endpoint=s3_location.endpoint,
        access_key_id=s3_location.access_key,
        secret_access_key=s3_location.secret_key,
        region="us-east-1",
        client_options={"allow_http": True},
    )
    obstore.put(store, "a", b"bytes")
    assert bytes(obstore.get(store, "a").bytes()) == b"bytes"


def test_the_docker_daemon_answers(dockerd: Docker) -> None:
    assert dockerd.run("version", "--format", "{{.Server.Os}}").stdout.strip() == "linux"
