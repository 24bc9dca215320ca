-- The tables of a metastore whose identifier stands where % does.
create table % (META_TABLE_KEY varchar(255) collate "C" primary key, META_TABLE_CONTENT bytea,
    META_TABLE_TS bigint, META_TABLE_MVCC bigint);
create table %_audit_log (id bigserial primary key, meta_key varchar(255) collate "C", meta_content bytea,
    meta_ts bigint, meta_mvcc bigint, unit_id varchar(50), operator varchar(200), instance varchar(100));
create index %_audit_log_meta_key_meta_mvcc_index on %_audit_log (meta_key, meta_mvcc);
create table if not exists %_epoch (epoch_id int, epoch_target varchar(255) primary key, current_epoch_owner varchar(2000),
    last_epoch_renew_time bigint, server_mode varchar(10), maintenance_mode_reason varchar(5000), mvcc bigint,
    reserved_field_1 varchar(50), reserved_field_2 bytea, reserved_field_3 bytea);
