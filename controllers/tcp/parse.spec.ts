import { describe, expect, it } from 'vitest';
import { parseProc, parseServersState, parseSessions, parseStat } from '#tcp/parse.ts';
import { assertOneCommand, parseReply } from '#tcp/runtime.ts';

describe('what HAProxy prints', () => {
  it('servers', () => {
    const header =
      '# be_id be_name srv_id srv_name srv_addr srv_op_state srv_admin_state srv_uweight srv_iweight srv_time_since_last_change srv_check_status srv_check_result srv_check_health srv_check_state srv_agent_state bk_f_forced_id srv_f_forced_id srv_fqdn srv_port srvrecord';
    const rows = ['2 be.b 1 s1 127.0.0.1 2 12 10 10 1 1 0 2 6 0 0 1 - 30001 -', '2 be.b 2 s2 ::1 0 5 5 5 0 1 0 0 2 0 0 1 - 30003 -'];
    expect(parseServersState(`1\n${header}\n${rows.join('\n')}\n`)).toEqual([
      { proxy: 'be.b', server: 's1', address: '127.0.0.1', port: 30001, operational: 2, admin: 'drain', weight: 10, checked: true },
      { proxy: 'be.b', server: 's2', address: '::1', port: 30003, operational: 0, admin: 'maint', weight: 5, checked: false },
    ]);
    expect(parseServersState(`1\n${header}\n`)).toEqual([]);
    expect(parseServersState('')).toEqual([]);
  });

  it('counters, with quoted fields before them', () => {
    const text = '# pxname,svname,qcur,scur,stot,last_chk,econ,eresp,bin,bout,status\nbe.b,s1,1,3,70,"a ""b"", c",2,1,10,20,UP 1/2\n';
    expect(parseStat(text)).toEqual([
      { proxy: 'be.b', server: 's1', active: 4, total: 70, failures: 3, bytesIn: 10, bytesOut: 20, status: 'UP 1/2' },
    ]);
  });

  it('processes', () => {
    const text =
      '#<PID>          <type>          <reloads>       <uptime>\n1  master  5 [failed: 0]  0d\n# workers\n31   worker   0  0d\n# old workers\n16  worker  3  0d\n17  worker  2  0d\n# programs\n';
    expect(parseProc(text)).toEqual({ worker: 31, oldWorkers: [16, 17], reloads: 5 });
  });

  it('connections, without those that have no server', () => {
    const text =
      '0x7f0759455c00: proto=tcpv4 src=127.0.0.1:60854 fe=l1 be=be.b srv=s1 ts=00 epoch=0\n0x7f0759456000: proto=sockpair src=unix:2 fe=GLOBAL be=<NONE> srv=<none> ts=00\n';
    expect(parseSessions(text)).toEqual([{ id: '0x7f0759455c00', proxy: 'be.b', server: 's1' }]);
  });

  it('replies: refusals are told by their severity', () => {
    expect(parseReply('')).toEqual({ ok: true, text: '' });
    expect(parseReply('[6]: Server deleted.\n')).toEqual({ ok: true, text: 'Server deleted.' });
    expect(parseReply('[4]: IP changed\n')).toEqual({ ok: true, text: 'IP changed' });
    expect(parseReply('[3]: No such server.\n')).toEqual({ ok: false, text: 'No such server.' });
    expect(parseReply("[6]: Unknown command: 'x'\n").ok).toBe(false);
  });

  it('sends nothing that would be two commands', () => {
    for (const command of ['a;b', 'a\nb', 'a <<', 'a\\', '', 'ä']) expect(() => assertOneCommand(command)).toThrow();
    expect(() => assertOneCommand('set server be.b/xcaas:1 state ready')).not.toThrow();
  });
});
