// The name of every public type, for headers that only pass them on.

#pragma once

#include <cstdint>

namespace troupe {

enum class ec : std::uint8_t;
enum class on_full : std::uint8_t;

class barrier;
class batch;
class batch_ref;
class clock;
class context;
class event;
class failure;
class histogram;
class latch;
class node_pool;
class permit;
class pool;
class process_pool;
class procedures;
class semaphore;

struct advice;
struct completion;
struct label_stats;
struct node_options;
struct pool_options;
struct pool_stats;
struct process_options;
struct receipt;
struct resource_spec;
struct sizing_goal;
struct worker_stats;
struct workload;

template <class T>
class channel;
template <class T>
class operation;
template <class T>
class outcome;
template <class T>
class stream;
template <class T>
class task;

/// Whether `T` is a `procedure`.
template <class T>
inline constexpr bool is_procedure = false;

} // namespace troupe
