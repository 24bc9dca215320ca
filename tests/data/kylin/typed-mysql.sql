-- The tables of a metastore whose identifier stands where % does.
create table %_project (id bigint unsigned not null auto_increment, meta_key varchar(255) not null,
    uuid char(36) not null collate utf8_bin, name varchar(255) not null, mvcc bigint not null, ts bigint not null,
    content longblob not null, reserved_filed_1 varchar(50), reserved_filed_2 longblob, reserved_filed_3 longblob,
    primary key (id), unique %_project_uk1 (uuid), unique %_project_uk2 (meta_key), unique %_project_uk3 (name))
    engine=innodb default charset=utf8 row_format=dynamic;
create table %_system (id bigint unsigned not null auto_increment, meta_key varchar(255) not null,
    uuid char(36) not null collate utf8_bin, name varchar(255) not null, mvcc bigint not null, ts bigint not null,
    content longblob not null, reserved_filed_1 varchar(50), reserved_filed_2 longblob, reserved_filed_3 longblob,
    primary key (id), unique %_system_uk1 (uuid), unique %_system_uk2 (meta_key), unique %_system_uk3 (name))
    engine=innodb default charset=utf8 row_format=dynamic;
create table %_model (id bigint unsigned not null auto_increment, meta_key varchar(255) not null,
    uuid char(36) not null collate utf8_bin, project varchar(255) not null, alias varchar(255) not null,
    mvcc bigint not null, ts bigint not null, content longblob not null, reserved_filed_1 varchar(50),
    reserved_filed_2 longblob, reserved_filed_3 longblob, primary key (id), unique %_model_uk1 (uuid),
    unique %_model_uk2 (meta_key), unique %_model_uk3 (project, alias))
    engine=innodb default charset=utf8 row_format=dynamic;
create table %_table_info (id bigint unsigned not null auto_increment, meta_key varchar(255) not null,
    uuid char(36) not null collate utf8_bin, project varchar(255) not null, name varchar(255), db_name varchar(255),
    mvcc bigint not null, ts bigint not null, content longblob not null, reserved_filed_1 varchar(50),
    reserved_filed_2 longblob, reserved_filed_3 longblob, primary key (id), unique %_table_info_uk1 (uuid),
    unique %_table_info_uk2 (meta_key)) engine=innodb default charset=utf8 row_format=dynamic;
create table %_table_exd (id bigint unsigned not null auto_increment, meta_key varchar(255) not null,
    uuid char(36) not null collate utf8_bin, project varchar(255) not null, table_name varchar(255),
    mvcc bigint not null, ts bigint not null, content longblob not null, reserved_filed_1 varchar(50),
    reserved_filed_2 longblob, reserved_filed_3 longblob, primary key (id), unique %_table_exd_uk1 (uuid),
    unique %_table_exd_uk2 (meta_key)) engine=innodb default charset=utf8 row_format=dynamic;
create table %_compute_column (id bigint unsigned not null auto_increment, meta_key varchar(255) not null,
    uuid char(36) not null collate utf8_bin, project varchar(255) not null, column_name varchar(255),
    table_identity varchar(255), table_alias varchar(255), expression text, expression_md5 char(32),
    inner_expression text, datatype varchar(255), reference_count int default 0, cc_comment text,
    mvcc bigint not null, ts bigint not null, content longblob not null, reserved_filed_1 varchar(50),
    reserved_filed_2 longblob, reserved_filed_3 longblob, primary key (id), unique %_compute_column_uk1 (uuid),
    unique %_compute_column_uk2 (meta_key), unique %_compute_column_uk3 (project, table_identity, column_name),
    unique %_compute_column_uk4 (project, table_identity, expression_md5))
    engine=innodb default charset=utf8 row_format=dynamic;
create table %_job_stats (id bigint unsigned not null auto_increment, meta_key varchar(255) not null,
    uuid char(36) not null collate utf8_bin, project varchar(255) not null, time_of_day bigint not null,
    mvcc bigint not null, ts bigint not null, content longblob not null, reserved_filed_1 varchar(50),
    reserved_filed_2 longblob, reserved_filed_3 longblob, primary key (id), unique %_job_stats_uk1 (uuid),
    unique %_job_stats_uk2 (meta_key)) engine=innodb default charset=utf8 row_format=dynamic;
create table %_user_info (id bigint unsigned not null auto_increment, meta_key varchar(255) not null,
    uuid char(36) not null collate utf8_bin, username varchar(255) not null, mvcc bigint not null,
    ts bigint not null, content longblob not null, reserved_filed_1 varchar(50), reserved_filed_2 longblob,
    reserved_filed_3 longblob, primary key (id), unique %_user_uk1 (uuid), unique %_user_uk2 (meta_key),
    unique %_user_uk3 (username)) engine=innodb default charset=utf8 row_format=dynamic;
create table %_audit_log_v2 (id bigint auto_increment primary key, meta_key varchar(255) collate utf8_bin,
    meta_content longblob, meta_ts bigint, meta_mvcc bigint, unit_id varchar(50), model_uuid char(36),
    operator varchar(200), instance varchar(100), project varchar(255), diff_flag tinyint(1) default 0)
    engine=innodb;
create index %_audit_log_v2_meta_key_meta_mvcc_index on %_audit_log_v2 (meta_key, meta_mvcc);
create index %_audit_log_v2_meta_ts_index on %_audit_log_v2 (meta_ts);
create table if not exists %_epoch (epoch_id int null, epoch_target varchar(255), current_epoch_owner varchar(2000) null,
    last_epoch_renew_time bigint null, server_mode varchar(10) null, maintenance_mode_reason varchar(5000) null,
    mvcc bigint null, reserved_field_1 varchar(50), reserved_field_2 longblob, reserved_field_3 longblob,
    primary key (epoch_target)) engine=innodb default charset=utf8;
