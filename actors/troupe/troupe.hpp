// Everything that users of troupe type.

#pragma once

#include "troupe/barrier.hpp"
#include "troupe/channel.hpp"
#include "troupe/compute_pool.hpp"
#include "troupe/config.hpp"
#include "troupe/context.hpp"
#include "troupe/delay.hpp"
#include "troupe/error.hpp"
#include "troupe/event.hpp"
#include "troupe/gather.hpp"
#include "troupe/latch.hpp"
#include "troupe/messages.hpp"
#include "troupe/operation.hpp"
#include "troupe/pool.hpp"
#include "troupe/run.hpp"
#include "troupe/semaphore.hpp"
#include "troupe/stream.hpp"
#include "troupe/task.hpp"
