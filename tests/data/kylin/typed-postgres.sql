-- The tables of a metastore whose identifier stands where % does.
create table %_project (id bigserial not null, meta_key varchar(255) not null, uuid char(36) collate "C" not null,
    name varchar(255) not null, mvcc bigint not null, ts bigint not null, content bytea not null,
    reserved_filed_1 varchar(50), reserved_filed_2 bytea, reserved_filed_3 bytea,
    constraint %_project_pk primary key (id), constraint %_project_uk1 unique (uuid),
    constraint %_project_uk2 unique (meta_key), constraint %_project_uk3 unique (name));
create table %_system (id bigserial not null, meta_key varchar(255) not null, uuid char(36) collate "C" not null,
    name varchar(255) not null, mvcc bigint not null, ts bigint not null, content bytea not null,
    reserved_filed_1 varchar(50), reserved_filed_2 bytea, reserved_filed_3 bytea,
    constraint %_system_pk primary key (id), constraint %_system_uk1 unique (uuid),
    constraint %_system_uk2 unique (meta_key), constraint %_system_uk3 unique (name));
create table %_model (id bigserial not null, meta_key varchar(255) not null, uuid char(36) collate "C" not null,
    project varchar(255) not null, alias varchar(255) not null, mvcc bigint not null, ts bigint not null,
    content bytea not null, reserved_filed_1 varchar(50), reserved_filed_2 bytea, reserved_filed_3 bytea,
    constraint %_model_pk primary key (id), constraint %_model_uk1 unique (uuid),
    constraint %_model_uk2 unique (meta_key), constraint %_model_uk3 unique (project, alias));
create table %_table_info (id bigserial not null, meta_key varchar(255) not null,
    uuid char(36) collate "C" not null, project varchar(255) not null, name varchar(255), db_name varchar(255),
    mvcc bigint not null, ts bigint not null, content bytea not null, reserved_filed_1 varchar(50),
    reserved_filed_2 bytea, reserved_filed_3 bytea, constraint %_table_info_pk primary key (id),
    constraint %_table_info_uk1 unique (uuid), constraint %_table_info_uk2 unique (meta_key));
create table %_table_exd (id bigserial not null, meta_key varchar(255) not null,
    uuid char(36) collate "C" not null, project varchar(255) not null, table_name varchar(255),
    mvcc bigint not null, ts bigint not null, content bytea not null, reserved_filed_1 varchar(50),
    reserved_filed_2 bytea, reserved_filed_3 bytea, constraint %_table_exd_pk primary key (id),
    constraint %_table_exd_uk1 unique (uuid), constraint %_table_exd_uk2 unique (meta_key));
create table %_compute_column (id bigserial not null, meta_key varchar(255) not null,
    uuid char(36) collate "C" not null, project varchar(255) not null, column_name varchar(255),
    table_identity varchar(255), table_alias varchar(255), expression text, expression_md5 char(32),
    inner_expression text, datatype varchar(255), reference_count int default 0, cc_comment text,
    mvcc bigint not null, ts bigint not null, content bytea not null, reserved_filed_1 varchar(50),
    reserved_filed_2 bytea, reserved_filed_3 bytea, constraint %_compute_column_pk primary key (id),
    constraint %_compute_column_uk1 unique (uuid), constraint %_compute_column_uk2 unique (meta_key),
    constraint %_compute_column_uk3 unique (project, table_identity, column_name),
    constraint %_compute_column_uk4 unique (project, table_identity, expression_md5));
create table %_job_stats (id bigserial not null, meta_key varchar(255) not null,
    uuid char(36) collate "C" not null, project varchar(255) not null, time_of_day bigint not null,
    mvcc bigint not null, ts bigint not null, content bytea not null, reserved_filed_1 varchar(50),
    reserved_filed_2 bytea, reserved_filed_3 bytea, constraint %_job_stats_pk primary key (id),
    constraint %_job_stats_uk1 unique (uuid), constraint %_job_stats_uk2 unique (meta_key));
create table %_user_info (id bigserial not null, meta_key varchar(255) not null,
    uuid char(36) collate "C" not null, username varchar(255) not null, mvcc bigint not null, ts bigint not null,
    content bytea not null, reserved_filed_1 varchar(50), reserved_filed_2 bytea, reserved_filed_3 bytea,
    constraint %_user_pk primary key (id), constraint %_user_uk1 unique (uuid),
    constraint %_user_uk2 unique (meta_key), constraint %_user_uk3 unique (username));
create table %_audit_log_v2 (id bigserial primary key, meta_key varchar(255) collate "C", meta_content bytea,
    meta_ts bigint, meta_mvcc bigint, unit_id varchar(50), model_uuid char(36), operator varchar(200),
    instance varchar(100), project varchar(255), diff_flag boolean default false);
create index %_audit_log_v2_meta_key_meta_mvcc_index on %_audit_log_v2 (meta_key, meta_mvcc);
create index %_audit_log_v2_meta_ts_index on %_audit_log_v2 (meta_ts);
create table if not exists %_epoch (epoch_id int, epoch_target varchar(255) primary key, current_epoch_owner varchar(2000),
    last_epoch_renew_time bigint, server_mode varchar(10), maintenance_mode_reason varchar(5000), mvcc bigint,
    reserved_field_1 varchar(50), reserved_field_2 bytea, reserved_field_3 bytea);
