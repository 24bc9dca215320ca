-- The tables of a metastore whose identifier stands where % does.
create table % (META_TABLE_KEY varchar(255) collate utf8_bin primary key, META_TABLE_CONTENT longblob,
    META_TABLE_TS bigint, META_TABLE_MVCC bigint) engine=innodb;
create table %_audit_log (id bigint auto_increment primary key, meta_key varchar(255) collate utf8_bin,
    meta_content longblob, meta_ts bigint, meta_mvcc bigint, unit_id varchar(50), operator varchar(200),
    instance varchar(100)) engine=innodb;
create index %_audit_log_meta_key_meta_mvcc_index on %_audit_log (meta_key, meta_mvcc);
create table if not exists %_epoch (epoch_id int null, epoch_target varchar(255), current_epoch_owner varchar(2000) null,
    last_epoch_renew_time bigint null, server_mode varchar(10) null, maintenance_mode_reason varchar(5000) null,
    mvcc bigint null, reserved_field_1 varchar(50), reserved_field_2 longblob, reserved_field_3 longblob,
    primary key (epoch_target)) engine=innodb default charset=utf8;
