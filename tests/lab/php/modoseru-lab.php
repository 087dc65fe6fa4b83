<?php
/**
 * Plugin Name: Modoseru lab
 * Description: Keeps this WordPress on loopback: *.wordpress.org is answered by the lab, everything else fails at once.
 */

// The port may change from start to start, this file may not: it belongs to the pristine tree.
const MODOSERU_LAB_WPORG = '@WPORG_URL_FILE@';

add_filter('http_request_args', function ($arguments) {
    $arguments['reject_unsafe_urls'] = false;
    return $arguments;
}, 99);

add_filter('pre_http_request', function ($answer, $arguments, $url) {
    $parts = parse_url($url);
    $host = strtolower((string) ($parts['host'] ?? ''));
    if ($host === '127.0.0.1') {
        return $answer;
    }
    $base = @file_get_contents(MODOSERU_LAB_WPORG);
    if ($base === false || !preg_match('/(^|\.)(wordpress\.org|w\.org)$/', $host)) {
        return new WP_Error('http_request_failed', "modoseru-lab: $host is not reachable from here");
    }
    $path = ($parts['path'] ?? '/') . (isset($parts['query']) ? '?' . $parts['query'] : '');
    return wp_remote_request(trim($base) . $path, $arguments);
}, 10, 3);

add_filter('pre_wp_mail', '__return_true');
